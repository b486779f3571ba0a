// Checks that every link between boards leads somewhere: to a board by its uid, with variables that the board has.
//
//   node links.mjs                       all of dashboards/
//
// A link in a board is a link of the board, of a panel, of a field, or of an override. What Grafana puts into an
// address (${name}, ${__field.labels.name}) must be known where the link stands.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const folder = join(here, '../../../dashboards');

const panelsOf = (board) => board.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
const variablesOf = (board) => (board.templating?.list ?? []).map(({ name }) => name);

/** Every link of a board, as where it stands and what it is. */
function linksOf(board) {
  const links = (board.links ?? []).map((link) => ({ where: 'board', link }));
  for (const panel of panelsOf(board)) {
    const where = `panel ${panel.id} "${panel.title}"`;
    const overridden = (panel.fieldConfig?.overrides ?? []).flatMap(({ properties }) =>
      properties.filter(({ id }) => id === 'links').flatMap(({ value }) => value),
    );
    const all = [...(panel.links ?? []), ...(panel.fieldConfig?.defaults?.links ?? []), ...overridden];
    links.push(...all.map((link) => ({ where, link })));
  }
  return links;
}

/** What is wrong with a link that stands on `from`. */
function problemsOf(link, from, boards) {
  if (!link.title) {
    return ['it has no title'];
  }
  if (link.type === 'dashboards') {
    const others = [...boards.values()].filter((board) => link.tags.every((tag) => board.tags?.includes(tag)));
    return others.length > 1 ? [] : [`no other board has the tags ${link.tags}`];
  }
  const problems = [];
  const url = link.url ?? '';
  const [path, query = ''] = url.split('?');
  const uid = /^\/d\/([^/]+)(\/[^/]*)?$/.exec(path)?.[1];
  const board = boards.get(uid);
  if (!board) {
    return [`${path} is not the address of a board of ours`];
  }
  for (const part of query.split('&').filter(Boolean)) {
    // ${name:queryparam} stands for var-name=...
    const [, whole] = /^\$\{([a-z_]+):queryparam\}$/.exec(part) ?? [];
    const name = whole ?? /^var-([^=]+)=./.exec(part)?.[1];
    if (name !== undefined && !variablesOf(board).includes(name)) {
      problems.push(`${uid} has no variable ${name}`);
    } else if (
      name === undefined &&
      !/^(from|to)=.|^\$\{?__url_time_range\}?$|^\$\{?__all_variables\}?$|^viewPanel=\d+$/.test(part)
    ) {
      problems.push(`${part} means nothing to Grafana`);
    }
  }
  for (const [, inner] of url.matchAll(/\$\{([^}]*)\}/g)) {
    const name = inner.split(':')[0];
    const known =
      /^__(field\.labels|data\.fields|field\.name|value\.\w+|series\.name)\b|^__(url_time_range|all_variables|from|to)$/;
    if (!known.test(name) && !variablesOf(from).includes(name)) {
      problems.push(`\${${inner}} is no variable of the board on which the link stands`);
    }
  }
  if (/\s/.test(url.replace(/\$\{[^}]*\}/g, ''))) {
    problems.push('a space in an address');
  }
  return problems;
}

function check(list) {
  const boards = new Map(list.map((board) => [board.uid, board]));
  const found = [];
  let count = 0;
  if (boards.size !== list.length) {
    found.push('two boards have the same uid');
  }
  for (const board of list) {
    for (const { where, link } of linksOf(board)) {
      count += 1;
      for (const problem of problemsOf(link, board, boards)) {
        found.push(`${board.uid}: ${where}: link "${link.title}" (${link.url ?? link.type}): ${problem}`);
      }
    }
  }
  return { count, found };
}

// The check is checked: none of these may pass.
const slips = [
  '/d/nowhere',
  '/d/a?var-gruop=x',
  '/d/a?var-group=${name}',
  '/d/a?group=x',
  '/d/a?${topic:queryparam}',
  '/d/a?var-group=',
];
for (const [url, wrong] of [
  ...slips.map((slip) => [slip, true]),
  ['/d/a/title?var-group=${__field.labels.group}&${__url_time_range}', false],
]) {
  const board = {
    uid: 'a',
    tags: [],
    links: [{ title: 'x', type: 'link', url }],
    panels: [],
    templating: { list: [{ name: 'group' }] },
  };
  if (check([board]).found.length > 0 !== wrong) {
    throw new Error(`the check of links is blind: ${url}`);
  }
}

const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
const { count, found } = check(names.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8'))));
found.forEach((problem) => console.error(problem));
console.log(`    ${names.length} boards, ${count} links`);
process.exit(found.length > 0 ? 1 : 0);
