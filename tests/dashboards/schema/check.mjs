// Type-checks dashboards against the oldest version of @grafana/schema with types of panels and against the newest.
//
//   node check.mjs [dashboard.json ...]      default: all files in dashboards/
//
// Each dashboard becomes a TypeScript program of literals, so that properties unknown to Grafana are errors too: Grafana
// silently ignores a misspelt option. Deliberate mistakes test the check itself.

import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const here = dirname(fileURLToPath(import.meta.url));
const dashboardsFolder = join(here, '../../../dashboards');

/** Plugins with folder and file of their generated types, and whether these have options and a field config. */
const PLUGINS = {
  bargauge: ['bargauge', 'BarGauge', true, false],
  barchart: ['barchart', 'BarChart', true, true],
  gauge: ['gauge', 'Gauge', true, false],
  heatmap: ['heatmap', 'Heatmap', true, true],
  piechart: ['piechart', 'PieChart', true, true],
  stat: ['stat', 'Stat', true, false],
  'state-timeline': ['statetimeline', 'StateTimeline', true, true],
  'status-history': ['statushistory', 'StatusHistory', true, true],
  table: ['table', 'Table', true, true],
  text: ['text', 'Text', true, false],
  timeseries: ['timeseries', 'TimeSeries', true, true],
};

const VERSIONS = ['grafana-schema-10', 'grafana-schema-13'];

/**
 * Applies the migrations of a newer Grafana to a dashboard, because dashboards are saved for the oldest one.
 */
function migrated(dashboard, version) {
  const newer = structuredClone(dashboard);
  for (const panel of version === VERSIONS[0] ? [] : panelsOf(newer)) {
    // The footer of a table moved to its fields, except pagination.
    if (panel.type === 'table' && panel.options?.footer) {
      const { footer, ...options } = panel.options;
      panel.options =
        footer.enablePagination === undefined ? options : { ...options, enablePagination: footer.enablePagination };
    }
  }
  return newer;
}

/** Panels of a dashboard in order, including those in collapsed rows. */
const panelsOf = (dashboard) => dashboard.panels.flatMap((panel) => [panel, ...(panel.type === 'row' ? panel.panels : [])]);

/** Program of a dashboard, with the place in the dashboard for each line. */
function programOf(dashboard) {
  const lines = [];
  const places = [];
  const emit = (text, place) => {
    for (const line of text.split('\n')) {
      lines.push(line);
      places.push(place);
    }
  };
  const literal = (value) => JSON.stringify(value, null, 1);
  const plugins = new Set(panelsOf(dashboard).map((panel) => panel.type));
  plugins.delete('row');
  emit("import type { Annotation, Dashboard, FieldConfig, Panel, Property, Row, Variable } from 'types';", 'imports');
  for (const plugin of plugins) {
    const known = PLUGINS[plugin];
    if (!known) {
      throw new Error(`no types are known for panels of type ${plugin}`);
    }
    const [folder, file] = known;
    const name = plugin.replace('-', '_');
    emit(
      `import type * as ${name} from 'schema-files/raw/composable/${folder}/panelcfg/x/${file}PanelCfg_types.gen';`,
    );
  }
  for (const panel of panelsOf(dashboard)) {
    const place = `panel ${panel.id} "${panel.title}"`;
    if (panel.type === 'row') {
      emit(`(${literal({ ...panel, panels: [] })}) satisfies Row;`, place);
      continue;
    }
    const name = panel.type.replace('-', '_');
    const custom = PLUGINS[panel.type][3] ? `${name}.FieldConfig` : '{}';
    emit(`(${literal(panel)}) satisfies Panel<'${panel.type}', ${name}.Options, ${custom}>;`, place);
    for (const { matcher, properties } of panel.fieldConfig?.overrides ?? []) {
      for (const { id, value } of properties) {
        const where = `${place}, override of ${literal(matcher.options)}, property ${id}`;
        emit(`(${literal(value)}) satisfies Property<${custom}, '${id}'>;`, where);
      }
    }
  }
  for (const variable of dashboard.templating?.list ?? []) {
    emit(`(${literal(variable)}) satisfies Variable;`, `variable ${variable.name}`);
  }
  for (const annotation of dashboard.annotations?.list ?? []) {
    emit(`(${literal(annotation)}) satisfies Annotation;`, `annotation ${annotation.name}`);
  }
  const rest = structuredClone(dashboard);
  rest.panels = [];
  if (rest.templating) rest.templating.list = [];
  if (rest.annotations) rest.annotations.list = [];
  emit(`(${literal(rest)}) satisfies Dashboard;`, 'dashboard');
  return { text: `${lines.join('\n')}\n`, lines, places };
}

/** Problems of the programs by file name, for one version of the package. */
function problemsOf(version, programs) {
  const package_ = join(here, 'node_modules', version);
  const root = version.endsWith('-10') ? 'dist/index.d.ts' : 'dist/types/index.d.ts';
  const options = {
    strict: true,
    noEmit: true,
    // The declarations of the package are not checked.
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    moduleDetection: ts.ModuleDetectionKind.Force,
    types: [],
    baseUrl: here,
    paths: {
      types: ['types.ts'],
      '@grafana/schema': [join(package_, root)],
      'schema-files/*': [join(package_, 'dist/esm/*')],
      // The newest package has no type for the query of the data source. Its fields are unchanged.
      'prometheus-query': [
        join(
          here,
          'node_modules',
          VERSIONS[0],
          'dist/esm/raw/composable/prometheus/dataquery/x',
          'PrometheusDataQuery_types.gen',
        ),
      ],
    },
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  const file = (name) => programs.get(basename(name));
  host.fileExists = (name) => file(name) !== undefined || fileExists(name);
  host.getSourceFile = (name, ...rest) =>
    file(name) === undefined ? getSourceFile(name, ...rest) : ts.createSourceFile(name, file(name).text, ...rest);
  const names = [...programs.keys()].map((name) => join(here, name));
  const program = ts.createProgram(names, options, host);
  const problems = new Map([...programs.keys()].map((name) => [name, []]));
  for (const found of ts.getPreEmitDiagnostics(program)) {
    const message = ts.flattenDiagnosticMessageText(found.messageText, '\n    ');
    const name = found.file && basename(found.file.fileName);
    if (!programs.has(name)) {
      throw new Error(`${version}: ${found.file?.fileName ?? ''} ${message}`);
    }
    const line = found.file.getLineAndCharacterOfPosition(found.start).line;
    const { lines, places } = programs.get(name);
    problems.get(name).push(`${places[line]}: ${lines[line].trim()}\n    ${message}`);
  }
  return problems;
}

/** Minimal dashboard with everything that the mistakes change. */
function sample() {
  const datasource = { type: 'prometheus', uid: '${datasource}' };
  const panel = (id, type, more) => ({
    id,
    type,
    title: type,
    datasource,
    gridPos: { h: 8, w: 8, x: 8 * (id - 1), y: 0 },
    fieldConfig: {
      defaults: { unit: 's', thresholds: { mode: 'absolute', steps: [{ color: 'red', value: 1 }] } },
      overrides: [],
    },
    targets: [{ datasource, refId: 'A', expr: 'up', legendFormat: '{{job}}', range: true }],
    ...more,
  });
  const dashboard = {
    uid: 'sample',
    title: 'Sample',
    schemaVersion: 39,
    graphTooltip: 1,
    panels: [
      panel(1, 'timeseries', {
        options: { legend: { showLegend: true, displayMode: 'table', placement: 'bottom', calcs: ['max'] } },
      }),
      panel(2, 'stat', { options: { colorMode: 'background', reduceOptions: { calcs: ['lastNotNull'] } } }),
      panel(3, 'table', { options: { showHeader: true, sortBy: [{ displayName: 'Value', desc: true }] } }),
    ],
    templating: {
      list: [
        {
          name: 'region',
          type: 'query',
          datasource,
          query: { query: 'label_values(up, job)', refId: 'r' },
          refresh: 2,
        },
      ],
    },
  };
  dashboard.panels[0].fieldConfig.defaults.custom = { lineWidth: 2, stacking: { mode: 'none' } };
  dashboard.panels[2].fieldConfig.overrides = [
    {
      matcher: { id: 'byName', options: 'Value' },
      properties: [{ id: 'custom.cellOptions', value: { type: 'color-text' } }],
    },
  ];
  return dashboard;
}

/** Mistakes that Grafana ignores silently or fails on. */
const MISTAKES = {
  'a misspelt option': (dashboard) => (dashboard.panels[1].options.colourMode = 'value'),
  'a value that the option does not have': (dashboard) => (dashboard.panels[1].options.colorMode = 'backdrop'),
  'an option of another plugin': (dashboard) => (dashboard.panels[2].options.legend = { showLegend: true }),
  'a misspelt placement of the legend': (dashboard) => (dashboard.panels[0].options.legend.placement = 'below'),
  'a misspelt custom field': (dashboard) => (dashboard.panels[0].fieldConfig.defaults.custom.linewidth = 2),
  'a number written as text': (dashboard) => (dashboard.panels[0].fieldConfig.defaults.custom.lineWidth = '2'),
  'a misspelt field property': (dashboard) => (dashboard.panels[0].fieldConfig.defaults.units = 's'),
  'a mode that thresholds do not have': (dashboard) =>
    (dashboard.panels[0].fieldConfig.defaults.thresholds.mode = 'relative'),
  'a mapping without a result': (dashboard) =>
    (dashboard.panels[1].fieldConfig.defaults.mappings = [{ type: 'range', options: { from: 0 } }]),
  'an override of an unknown property': (dashboard) =>
    (dashboard.panels[2].fieldConfig.overrides[0].properties[0].id = 'custom.cellOption'),
  'an override with a wrong value': (dashboard) =>
    (dashboard.panels[2].fieldConfig.overrides[0].properties[0].value.type = 'coloured'),
  'a misspelt field of a query': (dashboard) => (dashboard.panels[0].targets[0].legend = 'x'),
  'a query without an expression': (dashboard) => delete dashboard.panels[0].targets[0].expr,
  'a format that queries do not have': (dashboard) => (dashboard.panels[2].targets[0].format = 'tabular'),
  'a panel without a place': (dashboard) => delete dashboard.panels[0].gridPos,
  'a misspelt field of a variable': (dashboard) => (dashboard.templating.list[0].includeall = true),
  'a refresh that variables do not have': (dashboard) => (dashboard.templating.list[0].refresh = 5),
  'a misspelt field of the dashboard': (dashboard) => (dashboard.tag = ['alikafka']),
  'a cursor that dashboards do not have': (dashboard) => (dashboard.graphTooltip = 3),
};

const paths = process.argv.slice(2);
if (paths.length === 0) {
  paths.push(
    ...readdirSync(dashboardsFolder)
      .filter((name) => name.endsWith('.json'))
      .sort()
      .map((name) => join(dashboardsFolder, name)),
  );
}
if (paths.length === 0) {
  throw new Error('no dashboards to check');
}

const dashboards = new Map(paths.map((path) => [basename(path), JSON.parse(readFileSync(path, 'utf8'))]));
const mistakes = Object.entries(MISTAKES).map(([name, mistake], index) => {
  const dashboard = sample();
  mistake(dashboard);
  dashboards.set(`mistake ${index}`, dashboard);
  return { name, file: `mistake ${index}.ts` };
});
dashboards.set('mistake none', sample());

let failed = false;
const fail = (text) => {
  console.error(text);
  failed = true;
};
for (const version of VERSIONS) {
  const { version: number } = JSON.parse(readFileSync(join(here, 'node_modules', version, 'package.json'), 'utf8'));
  const programs = new Map([...dashboards].map(([name, dashboard]) => [`${name}.ts`, programOf(migrated(dashboard, version))]));
  const problems = problemsOf(version, programs);
  for (const path of paths) {
    for (const problem of problems.get(`${basename(path)}.ts`)) {
      fail(`${basename(path)}, against @grafana/schema ${number}: ${problem}`);
    }
  }
  problems.get('mistake none.ts').forEach((problem) => fail(`${number} rejects the sample: ${problem}`));
  for (const { name, file } of mistakes) {
    if (problems.get(file).length === 0) {
      fail(`the check does not find ${name} with the types of ${number}`);
    }
  }
  console.log(`    @grafana/schema ${number}: ${paths.length} dashboards, ${mistakes.length} deliberate mistakes found`);
}
process.exit(failed ? 1 : 0);
