// Draws a dashboard with Grafana's scenes: /?dashboard=fleet&from=now-15m&var-group=orders

import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import '@fontsource/noto-sans-sc/chinese-simplified-400.css';
import '@fontsource/roboto-mono/400.css';
import '@fontsource/roboto-mono/500.css';
import 'uplot/dist/uPlot.min.css';
import { FieldType, LoadingState, ThemeContext } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import {
  behaviors,
  ConstantVariable,
  CustomVariable,
  dataLayers,
  EmbeddedScene,
  IntervalVariable,
  LocalValueVariable,
  MultiValueVariable,
  QueryVariable,
  registerRuntimeDataSource,
  SceneControlsSpacer,
  SceneDataLayerControls,
  SceneDataLayerSet,
  SceneDataTransformer,
  sceneGraph,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariableSet,
  TextBoxVariable,
  VariableValueSelectors,
  VizPanel,
} from '@grafana/scenes';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { prepareHost, theme } from './host';
import { registerPanels } from './plugins';
import { Prometheus } from './source';

const parameters = new URLSearchParams(location.search);
const UID = 'prometheus';

/** Variable of the dashboard, with the value in the URL if there is one. */
function variableOf(model: any): any {
  const fromUrl = parameters.getAll(`var-${model.name}`);
  const current = model.current ?? {};
  const value =
    fromUrl.length > 0 ? (model.multi ? fromUrl : fromUrl[0]) : (current.value ?? (model.includeAll ? '$__all' : ''));
  const common = {
    name: model.name,
    label: model.label,
    description: model.description,
    hide: model.hide,
    skipUrlSync: model.skipUrlSync,
    value,
    text: fromUrl.length > 0 ? value : (current.text ?? ''),
  };
  const several = {
    isMulti: model.multi,
    includeAll: model.includeAll,
    allValue: model.allValue || undefined,
    defaultToAll: Boolean(model.includeAll),
  };
  switch (model.type) {
    case 'datasource':
      return new CustomVariable({ ...common, query: `Prometheus : ${UID}`, value: UID, text: 'Prometheus' });
    case 'query':
      return new QueryVariable({
        ...common,
        ...several,
        datasource: { uid: UID },
        query: model.query,
        regex: model.regex,
        sort: model.sort,
        refresh: model.refresh,
      });
    case 'custom':
      return new CustomVariable({ ...common, ...several, query: model.query });
    case 'interval':
      return new IntervalVariable({ ...common, intervals: model.query.split(','), autoEnabled: model.auto } as any);
    case 'constant':
      return new ConstantVariable({ ...common, value: model.query });
    case 'textbox':
      return new TextBoxVariable({ ...common, value: fromUrl[0] ?? model.query });
    default:
      throw new Error(`variables of type ${model.type} are not known here`);
  }
}

const SOURCE = { uid: UID, type: 'prometheus' };

function panelOf(model: any): VizPanel {
  const queries = (model.targets ?? []).map((target: any) => ({ ...target, datasource: SOURCE }));
  const runner = new SceneQueryRunner({
    datasource: SOURCE,
    queries,
    maxDataPoints: model.maxDataPoints,
    minInterval: model.interval,
  });
  return new VizPanel({
    key: `panel-${model.id}`,
    pluginId: model.type,
    title: model.title,
    description: model.description,
    options: model.options ?? {},
    fieldConfig: { defaults: model.fieldConfig?.defaults ?? {}, overrides: model.fieldConfig?.overrides ?? [] },
    displayMode: model.transparent ? 'transparent' : 'default',
    $data:
      queries.length === 0
        ? undefined
        : new SceneDataTransformer({ $data: runner, transformations: model.transformations ?? [] }),
  });
}

const itemOf = (model: any, top = 0) =>
  new SceneGridItem({
    x: model.gridPos.x,
    y: model.gridPos.y - top,
    width: model.gridPos.w,
    height: model.gridPos.h,
    isResizable: false,
    isDraggable: false,
    body: panelOf(model),
  });

/** Maximum number of drawn repetitions of a row. */
const REPETITIONS = 2;

/**
 * Grid with all rows open, including collapsed ones. A repeated row is drawn for the first values of its variable, so
 * its grid is created after the values of the variables are known.
 */
function gridOf(dashboard: any, valuesOf: (variable: string) => string[]): Array<SceneGridItem | SceneGridRow> {
  const children: Array<SceneGridItem | SceneGridRow> = [];
  let shift = 0;
  let row: { model: any; panels: any[] } | undefined;
  const shifted = (model: any, by: number, key = '') => {
    const item = itemOf({ ...model, gridPos: { ...model.gridPos, y: model.gridPos.y + by } });
    (item.state.body as VizPanel).setState({ key: `panel-${model.id}${key}` });
    return item;
  };
  const close = () => {
    if (!row) {
      return;
    }
    const { model, panels } = row;
    const values: Array<string | undefined> = model.repeat
      ? valuesOf(model.repeat).slice(0, REPETITIONS)
      : [undefined];
    const height =
      1 + Math.max(0, ...panels.map((panel) => panel.gridPos.y + panel.gridPos.h)) - (model.gridPos.y + 1);
    values.forEach((value, index) => {
      const by = shift + index * height;
      children.push(
        new SceneGridRow({
          title: model.title,
          y: model.gridPos.y + by,
          isCollapsed: false,
          $variables:
            value === undefined
              ? undefined
              : new SceneVariableSet({
                  variables: [new LocalValueVariable({ name: model.repeat, value, text: value })],
                }),
          children: panels.map((panel) => shifted(panel, by, value === undefined ? '' : `-${index}`)),
        }),
      );
    });
    shift += Math.max(0, values.length - 1) * height;
    row = undefined;
  };
  for (const model of dashboard.panels) {
    if (model.type === 'row') {
      close();
      row = { model, panels: [...model.panels] };
      if (model.panels.length > 0) {
        const top = model.gridPos.y + 1;
        const first = Math.min(...model.panels.map((panel: any) => panel.gridPos.y));
        row.panels = model.panels.map((panel: any) => ({
          ...panel,
          gridPos: { ...panel.gridPos, y: panel.gridPos.y - first + top },
        }));
        const height = Math.max(...row.panels.map((panel: any) => panel.gridPos.y + panel.gridPos.h)) - top;
        close();
        shift += height;
      }
    } else if (row) {
      row.panels.push(model);
    } else {
      children.push(shifted(model, shift));
    }
  }
  close();
  return children;
}

/** Draws repeated rows after the values of their variables are known. */
async function repeatRows(scene: EmbeddedScene, dashboard: any): Promise<void> {
  const repeated = [...new Set<string>(dashboard.panels.map((panel: any) => panel.repeat).filter(Boolean))];
  const variables = repeated.map((name) => sceneGraph.lookupVariable(name, scene) as MultiValueVariable);
  const selected = (variable: MultiValueVariable): string[] => {
    const { value, options } = variable.state;
    const list = ([] as any[]).concat(value).map(String);
    return list.includes('$__all') ? options.map((option) => String(option.value)) : list;
  };
  const known = () => variables.every((variable) => !variable.state.loading && selected(variable).length > 0);
  for (let waited = 0; !known() && waited < 100; waited += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const valuesOf = (name: string) => selected(variables[repeated.indexOf(name)]);
  (scene.state.body as SceneGridLayout).setState({ children: gridOf(dashboard, valuesOf) });
}

const repeats = (dashboard: any) => dashboard.panels.some((panel: any) => panel.repeat);

function sceneOf(dashboard: any): EmbeddedScene {
  const layers = (dashboard.annotations?.list ?? [])
    .filter((query: any) => query.enable && query.datasource?.uid !== '-- Grafana --')
    .map(
      (query: any) =>
        new dataLayers.AnnotationsDataLayer({
          name: query.name,
          isEnabled: true,
          isHidden: Boolean(query.hide),
          query: { ...query, datasource: SOURCE, target: query.target && { ...query.target, datasource: SOURCE } },
        }),
    );
  return new EmbeddedScene({
    $timeRange: new SceneTimeRange({
      from: parameters.get('from') ?? 'now-15m',
      to: parameters.get('to') ?? 'now',
      timeZone: 'utc',
    }),
    $variables: new SceneVariableSet({ variables: (dashboard.templating?.list ?? []).map(variableOf) }),
    $data: new SceneDataLayerSet({ layers }),
    $behaviors: [new behaviors.CursorSync({ sync: dashboard.graphTooltip })],
    controls: [
      new VariableValueSelectors({}),
      ...(layers.length > 0 ? [new SceneDataLayerControls()] : []),
      new SceneControlsSpacer(),
      new SceneTimePicker({}),
    ],
    body: new SceneGridLayout({
      children: repeats(dashboard) ? [] : gridOf(dashboard, () => []),
      isLazy: false,
      isDraggable: false,
    }),
  });
}

/** Links in the bar above the dashboard. */
function Links({ dashboard, dashboards }: { dashboard: any; dashboards: any[] }) {
  const links = (dashboard.links ?? []).flatMap((link: any) =>
    link.type !== 'dashboards'
      ? [link]
      : dashboards
          .filter((other) => other.uid !== dashboard.uid && link.tags.every((tag: string) => other.tags?.includes(tag)))
          .map((other) => ({ title: other.title, tooltip: other.description })),
  );
  return (
    <div style={{ display: 'flex', gap: 12 }}>
      {links.map((link: any) => (
        <span
          key={link.title}
          style={{
            padding: '4px 10px',
            border: `1px solid ${theme.colors.border.medium}`,
            borderRadius: 2,
            fontSize: 12,
          }}
        >
          {link.title}
        </span>
      ))}
    </div>
  );
}

/** Links of the values of a panel, for the first rows. A graph shows its links only in its tooltip. */
function linksOf(panel: VizPanel): string[] {
  const frames = (panel as any)._dataWithFieldConfig?.series ?? [];
  const found = new Set<string>();
  for (const frame of frames) {
    for (const field of frame.fields.filter(
      (field: any) => field.type !== FieldType.time && field.config.links?.length > 0,
    )) {
      for (let row = 0; row < Math.min(3, frame.length); row += 1) {
        field.getLinks?.({ valueRowIndex: row }).forEach((link: any) => found.add(link.href));
      }
    }
  }
  return [...found];
}

/** Publishes the state of each panel, which the screenshot waits for and reports. */
function watch(scene: EmbeddedScene) {
  const panels = () => sceneGraph.findAllObjects(scene, (object) => object instanceof VizPanel) as VizPanel[];
  (window as any).report = () =>
    panels().map((panel) => {
      const data = sceneGraph.getData(panel).state.data;
      const element = document.querySelector(`[data-viz-panel-key="${panel.state.key}"]`) as HTMLElement | null;
      return {
        id: panel.state.key,
        type: panel.state.pluginId,
        title: sceneGraph.interpolate(panel, panel.state.title, undefined, 'text'),
        state: panel.state.$data ? data?.state : LoadingState.Done,
        series: (data?.series ?? []).filter((frame) => frame.length > 0).length,
        rows: (data?.series ?? []).reduce((sum, frame) => sum + frame.length, 0),
        error: [panel.state._pluginLoadError, ...(data?.errors ?? []).map(({ message }) => message)]
          .filter(Boolean)
          .join('; '),
        nothing: element?.querySelector('[data-nothing]')?.getAttribute('data-nothing') ?? undefined,
        text: element?.innerText ?? '',
        annotations: (data?.annotations ?? []).reduce((sum, frame) => sum + frame.length, 0),
        links: linksOf(panel),
      };
    });
  (window as any).height = () => document.querySelector('#root')!.scrollHeight;
}

async function main() {
  const dashboards: any[] = await (await fetch('/dashboards')).json();
  const dashboard = dashboards.find(({ file }) => file === parameters.get('dashboard'));
  const source = new Prometheus(UID, Number(parameters.get('scrape') ?? 15));
  prepareHost(source);
  await initPluginTranslations('alikafka-dashboards');
  registerRuntimeDataSource({ dataSource: source });
  registerPanels();
  const scene = sceneOf(dashboard);
  createRoot(document.querySelector('#root')!).render(
    <MemoryRouter>
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        <div style={{ padding: '12px 16px', background: theme.colors.background.canvas }}>
          <div style={{ display: 'flex', justifyContent: 'space-between', alignItems: 'center', marginBottom: 8 }}>
            <h3 style={{ margin: 0 }}>{dashboard.title}</h3>
            <Links dashboard={dashboard} dashboards={dashboards} />
          </div>
          <scene.Component model={scene} />
        </div>
        <PortalContainer />
      </ThemeContext.Provider>
    </MemoryRouter>,
  );
  if (repeats(dashboard)) {
    await repeatRows(scene, dashboard);
  }
  watch(scene);
}

main().catch((error) => {
  (window as any).failure = String(error?.stack ?? error);
});
