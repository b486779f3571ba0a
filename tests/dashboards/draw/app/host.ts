// Services, registries and the query pipeline that Grafana's core provides to its libraries and no package publishes.

import {
  createTheme,
  dataLinksOverrideProcessor,
  DataSourceInstanceSettings,
  DataSourcePluginMeta,
  displayNameOverrideProcessor,
  EventBusSrv,
  identityOverrideProcessor,
  LoadingState,
  numberOverrideProcessor,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import {
  config,
  setAppEvents,
  setDataSourceSrv,
  setEchoSrv,
  setPluginImportUtils,
  setRunRequest,
  setTemplateSrv,
} from '@grafana/runtime';
import { concat, from, of } from 'rxjs';
import { catchError, map } from 'rxjs/operators';

// Instance names may be Chinese. Grafana falls back to the fonts of the machine.
export const theme = createTheme({
  colors: { mode: 'light' },
  typography: { fontFamily: "'Inter', 'Noto Sans SC', sans-serif" },
});

/** Properties of every panel that defaults and overrides may set. */
const STANDARD_FIELDS: Array<[string, unknown]> = [
  ['unit', unitOverrideProcessor],
  ['min', numberOverrideProcessor],
  ['max', numberOverrideProcessor],
  ['decimals', numberOverrideProcessor],
  ['displayName', displayNameOverrideProcessor],
  ['noValue', stringOverrideProcessor],
  ['description', stringOverrideProcessor],
  ['color', identityOverrideProcessor],
  ['thresholds', thresholdsOverrideProcessor],
  ['mappings', valueMappingsOverrideProcessor],
  ['links', dataLinksOverrideProcessor],
  ['filterable', identityOverrideProcessor],
  ['fieldMinMax', identityOverrideProcessor],
];

function nothing() {
  return null;
}

export function prepareHost(source: any): void {
  config.theme2 = theme;
  config.bootData = {
    ...(config as any).bootData,
    user: { timezone: 'browser', locale: 'en-US', language: 'en-US' },
  } as any;
  standardEditorsRegistry.setInit(() => []);
  standardFieldConfigEditorRegistry.setInit(() =>
    STANDARD_FIELDS.map(
      ([id, process]) =>
        ({
          id,
          path: id,
          name: id,
          description: '',
          editor: nothing,
          override: nothing,
          process,
          shouldApply: () => true,
          settings: {},
          getItemsCount: () => 0,
        }) as any,
    ),
  );
  standardTransformersRegistry.setInit(
    () =>
      // Some are registered under two names.
      [...new Map(Object.values(standardTransformers).map((one: any) => [one.id, one])).values()].map(
        (transformation: any) => ({
          id: transformation.id,
          name: transformation.name,
          description: transformation.description,
          transformation: async () => transformation,
          editor: nothing as any,
        }),
      ) as any,
  );

  const settings = {
    uid: source.uid,
    id: 1,
    name: 'Prometheus',
    type: 'prometheus',
    isDefault: true,
    readOnly: true,
    jsonData: {},
    access: 'proxy',
    meta: {
      id: 'prometheus',
      name: 'Prometheus',
      metrics: true,
      annotations: true,
      info: { logos: {} },
    } as unknown as DataSourcePluginMeta,
  } as DataSourceInstanceSettings;
  setDataSourceSrv({
    get: async () => source,
    getList: () => [settings],
    getInstanceSettings: () => settings,
    reload: () => undefined,
    registerRuntimeDataSource: () => undefined,
  } as any);
  setTemplateSrv({
    getVariables: () => [],
    replace: (text: string) => text,
    containsTemplate: () => false,
    updateTimeRange: () => undefined,
  } as any);
  setAppEvents(new EventBusSrv());
  setEchoSrv({ addEvent: () => undefined, flush: () => undefined, addBackend: () => undefined } as any);
  setPluginImportUtils({
    importPanelPlugin: async (id: string) => {
      throw new Error(`no panel of type ${id} can be drawn here`);
    },
    getPanelPluginFromCache: () => undefined,
  } as any);
  setRunRequest(((datasource: any, request: any, query?: any) => {
    const loading = { state: LoadingState.Loading, series: [], timeRange: request.range, request };
    const result = from((query ?? datasource.query.bind(datasource))(request)).pipe(
      map((packet: any) => ({
        state: LoadingState.Done,
        series: packet.data,
        annotations: [],
        timeRange: request.range,
        request,
      })),
      catchError((error: Error) =>
        of({
          ...loading,
          state: LoadingState.Error,
          errors: [{ message: error.message }],
          error: { message: error.message },
        }),
      ),
    );
    return concat(of(loading), result);
  }) as any);
}
