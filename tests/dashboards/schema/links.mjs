// Checks that links between dashboards refer to existing UIDs and set variables of their targets.
//
//   node links.mjs                       all files in dashboards/
//
// A dashboard, a panel, a field or an override may have links. Placeholders in their URLs (${name},
// ${__field.labels.name}) must be known to the dashboard with the link.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const folder = join(here, '../../../dashboards');

const panelsOf = (dashboard) => dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
const variablesOf = (dashboard) => (dashboard.templating?.list ?? []).map(({ name }) => name);

/** Links of a dashboard with their places. */
function linksOf(dashboard) {
  const links = (dashboard.links ?? []).map((link) => ({ where: 'dashboard', link }));
  for (const panel of panelsOf(dashboard)) {
    const where = `panel ${panel.id} "${panel.title}"`;
    const overridden = (panel.fieldConfig?.overrides ?? []).flatMap(({ properties }) =>
      properties.filter(({ id }) => id === 'links').flatMap(({ value }) => value),
    );
    const all = [...(panel.links ?? []), ...(panel.fieldConfig?.defaults?.links ?? []), ...overridden];
    links.push(...all.map((link) => ({ where, link })));
  }
  return links;
}

/** Problems of a link on the dashboard `from`. */
function problemsOf(link, from, dashboards) {
  if (!link.title) {
    return ['it has no title'];
  }
  if (link.type === 'dashboards') {
    const others = [...dashboards.values()].filter((dashboard) => link.tags.every((tag) => dashboard.tags?.includes(tag)));
    return others.length > 1 ? [] : [`no other dashboard has the tags ${link.tags}`];
  }
  const problems = [];
  const url = link.url ?? '';
  const [path, query = ''] = url.split('?');
  const uid = /^\/d\/([^/]+)(\/[^/]*)?$/.exec(path)?.[1];
  const dashboard = dashboards.get(uid);
  if (!dashboard) {
    return [`${path} is not the path of a dashboard`];
  }
  for (const part of query.split('&').filter(Boolean)) {
    // Grafana expands ${name:queryparam} to var-name=...
    const [, parameter] = /^\$\{([a-z_]+):queryparam\}$/.exec(part) ?? [];
    const name = parameter ?? /^var-([^=]+)=./.exec(part)?.[1];
    if (name !== undefined && !variablesOf(dashboard).includes(name)) {
      problems.push(`${uid} has no variable ${name}`);
    } else if (
      name === undefined &&
      !/^(from|to)=.|^\$\{?__url_time_range\}?$|^\$\{?__all_variables\}?$|^viewPanel=\d+$/.test(part)
    ) {
      problems.push(`${part} has no effect in Grafana`);
    }
  }
  for (const [, inner] of url.matchAll(/\$\{([^}]*)\}/g)) {
    const name = inner.split(':')[0];
    const known =
      /^__(field\.labels|data\.fields|field\.name|value\.\w+|series\.name)\b|^__(url_time_range|all_variables|from|to)$/;
    if (!known.test(name) && !variablesOf(from).includes(name)) {
      problems.push(`\${${inner}} is not a variable of the dashboard with the link`);
    }
  }
  if (/\s/.test(url.replace(/\$\{[^}]*\}/g, ''))) {
    problems.push('a space in the URL');
  }
  return problems;
}

function check(list) {
  const dashboards = new Map(list.map((dashboard) => [dashboard.uid, dashboard]));
  const found = [];
  let count = 0;
  if (dashboards.size !== list.length) {
    found.push('two dashboards have the same uid');
  }
  for (const dashboard of list) {
    for (const { where, link } of linksOf(dashboard)) {
      count += 1;
      for (const problem of problemsOf(link, dashboard, dashboards)) {
        found.push(`${dashboard.uid}: ${where}: link "${link.title}" (${link.url ?? link.type}): ${problem}`);
      }
    }
  }
  return { count, found };
}

// Tests the check with links that it must reject.
const mistakes = [
  '/d/nowhere',
  '/d/a?var-gruop=x',
  '/d/a?var-group=${name}',
  '/d/a?group=x',
  '/d/a?${topic:queryparam}',
  '/d/a?var-group=',
];
for (const [url, wrong] of [
  ...mistakes.map((mistake) => [mistake, true]),
  ['/d/a/title?var-group=${__field.labels.group}&${__url_time_range}', false],
]) {
  const dashboard = {
    uid: 'a',
    tags: [],
    links: [{ title: 'x', type: 'link', url }],
    panels: [],
    templating: { list: [{ name: 'group' }] },
  };
  if (check([dashboard]).found.length > 0 !== wrong) {
    throw new Error(`the check of links misjudges ${url}`);
  }
}

const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
const { count, found } = check(names.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8'))));
found.forEach((problem) => console.error(problem));
console.log(`    ${names.length} dashboards, ${count} links`);
process.exit(found.length > 0 ? 1 : 0);
