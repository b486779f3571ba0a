// Panels. Grafana's core does not publish them, so they are built here from the same components of @grafana/ui. The state
// timeline has no published component, so it is drawn here.

import {
  cacheFieldDisplayNames,
  FieldType,
  formattedValueToString,
  getDisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldDisplayName,
  getFieldDisplayValues,
  identityOverrideProcessor,
  PanelPlugin,
  PanelProps,
  renderMarkdown,
  VizOrientation,
  type DataFrame,
  type Field,
  type FieldDisplay,
} from '@grafana/data';
import { registerRuntimePanelPlugin } from '@grafana/scenes';
import {
  AxisPlacement,
  BarGauge,
  BarGaugeDisplayMode,
  BigValue,
  BigValueGraphMode,
  DataLinksContextMenu,
  LineInterpolation,
  StackingMode,
  TimeSeries,
  useTheme2,
  VizLayout,
  VizLegend,
  VizRepeater,
} from '@grafana/ui';
import { GraphDrawStyle, VisibilityMode } from '@grafana/schema';
import { TableNG } from '@grafana/ui/unstable';
import React from 'react';
import { theme } from './host';

function Nothing({ props }: { props: PanelProps<any> }) {
  const text = props.fieldConfig.defaults.noValue || 'No data';
  return (
    <div
      data-nothing={text}
      style={{
        display: 'flex',
        alignItems: 'center',
        justifyContent: 'center',
        height: '100%',
        textAlign: 'center',
        color: theme.colors.text.secondary,
      }}
    >
      {text}
    </div>
  );
}

/** Draws annotations on a graph: a dashed line at the time, a tint over a time range. */
function annotationHook(frames: () => DataFrame[], chartTheme: typeof theme) {
  return (plot: any) => {
    const context: CanvasRenderingContext2D = plot.ctx;
    const { left, top, width, height } = plot.bbox;
    context.save();
    context.beginPath();
    context.rect(left, top, width, height + 10 * devicePixelRatio);
    context.clip();
    for (const frame of frames()) {
      const values = (name: string) => frame.fields.find((field) => field.name === name)?.values;
      const [times, ends, colors] = [values('time'), values('timeEnd'), values('color')];
      for (let index = 0; index < frame.length; index += 1) {
        const color = chartTheme.visualization.getColorByName(colors?.[index] ?? 'red');
        const x = plot.valToPos(times![index], 'x', true);
        const end = ends?.[index] ? plot.valToPos(ends[index], 'x', true) : x;
        context.strokeStyle = color;
        context.fillStyle = color;
        context.lineWidth = devicePixelRatio;
        context.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
        for (const at of end > x ? [x, end] : [x]) {
          context.beginPath();
          context.moveTo(at, top);
          context.lineTo(at, top + height);
          context.stroke();
        }
        context.globalAlpha = 0.1;
        context.fillRect(x, top, end - x, height);
        context.globalAlpha = 1;
        context.fillRect(x - 3, top + height, Math.max(6, end - x), 5 * devicePixelRatio);
      }
    }
    context.restore();
  };
}

/** Numeric fields, which a graph can draw. */
function graphable(series: DataFrame[]): DataFrame[] {
  return series
    .filter((frame) => frame.length > 0 && frame.fields.some((field) => field.type === FieldType.time))
    .map((frame) => ({
      ...frame,
      fields: frame.fields.filter((field) => field.type === FieldType.time || field.type === FieldType.number),
    }))
    .filter((frame) => frame.fields.length > 1);
}

function TimeSeriesPanel(props: PanelProps<any>) {
  const { data, timeRange, timeZone, width, height, options } = props;
  const frames = React.useMemo(() => graphable(data.series), [data.series]);
  // The plot is created once and reads annotations that arrive later from here on every draw.
  const annotations = React.useRef<DataFrame[]>([]);
  const plot = React.useRef<any>(undefined);
  const hooked = React.useRef(new WeakSet());
  annotations.current = data.annotations ?? [];
  React.useEffect(() => plot.current?.redraw(), [data.annotations]);
  if (frames.length === 0) {
    return <Nothing props={props} />;
  }
  return (
    <TimeSeries
      frames={frames}
      structureRev={data.structureRev}
      timeRange={timeRange}
      timeZone={timeZone}
      width={width}
      height={height}
      legend={options.legend}
      options={options}
    >
      {(config) => {
        if (!hooked.current.has(config)) {
          hooked.current.add(config);
          config.addHook('init', (made: any) => (plot.current = made));
          config.addHook(
            'draw',
            annotationHook(() => annotations.current, theme),
          );
        }
        return null;
      }}
    </TimeSeries>
  );
}

const displayValues = (props: PanelProps<any>, sparkline: boolean): FieldDisplay[] =>
  getFieldDisplayValues({
    fieldConfig: props.fieldConfig,
    reduceOptions: props.options.reduceOptions,
    replaceVariables: props.replaceVariables,
    theme,
    data: props.data.series,
    sparkline,
    timeZone: props.timeZone,
    percentChange: props.options.showPercentChange,
  });

/** Lays out several values along the longer side of the panel, like Grafana's core. */
function orientationOf({ options, width, height }: PanelProps<any>): VizOrientation {
  const orientation = options.orientation ?? VizOrientation.Auto;
  return orientation !== VizOrientation.Auto ? orientation : width > height ? VizOrientation.Vertical : VizOrientation.Horizontal;
}

function StatPanel(props: PanelProps<any>) {
  const { options, width, height, data, renderCounter } = props;
  const values = displayValues(props, options.graphMode !== BigValueGraphMode.None);
  return (
    <VizRepeater
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, width: itemWidth, height: itemHeight, count }: any) => {
        const draw = (menu?: any) => (
          <BigValue
            value={value.display}
            count={count}
            sparkline={value.sparkline && { ...value.sparkline, timeRange: props.timeRange }}
            colorMode={options.colorMode}
            graphMode={options.graphMode}
            justifyMode={options.justifyMode}
            textMode={count === 1 && options.textMode === 'auto' ? ('value' as any) : options.textMode}
            alignmentFactors={alignmentFactors}
            text={options.text}
            width={itemWidth}
            height={itemHeight}
            theme={theme}
            onClick={menu?.openMenu}
            className={menu?.targetClassName}
            percentChangeColorMode={options.percentChangeColorMode}
            wideLayout={options.wideLayout}
          />
        );
        return value.hasLinks && value.getLinks ? (
          <DataLinksContextMenu links={value.getLinks}>{draw}</DataLinksContextMenu>
        ) : (
          draw()
        );
      }}
      source={data}
      itemSpacing={3}
      orientation={options.orientation ?? VizOrientation.Auto}
      autoGrid
      renderCounter={renderCounter}
      width={width}
      height={height}
    />
  );
}

function BarGaugePanel(props: PanelProps<any>) {
  const { options, width, height, data, renderCounter } = props;
  const values = displayValues(props, false);
  const orientation = orientationOf(props);
  return (
    <VizRepeater
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, width: itemWidth, height: itemHeight, count }: any) => {
        const draw = (menu?: any) => (
          <BarGauge
            value={value.display}
            width={itemWidth}
            height={itemHeight}
            orientation={orientation}
            field={value.field}
            text={options.text}
            display={value.view?.getFieldDisplayProcessor(value.colIndex)}
            theme={theme}
            itemSpacing={10}
            displayMode={options.displayMode ?? BarGaugeDisplayMode.Gradient}
            onClick={menu?.openMenu}
            className={menu?.targetClassName}
            alignmentFactors={count > 1 ? alignmentFactors : undefined}
            showUnfilled={options.showUnfilled}
            valueDisplayMode={options.valueMode}
            namePlacement={options.namePlacement}
          />
        );
        return value.hasLinks && value.getLinks ? (
          <DataLinksContextMenu links={value.getLinks}>{draw}</DataLinksContextMenu>
        ) : (
          draw()
        );
      }}
      source={data}
      renderCounter={renderCounter}
      width={width}
      height={height}
      minVizWidth={options.minVizWidth ?? 8}
      minVizHeight={options.minVizHeight ?? 16}
      maxVizHeight={options.maxVizHeight ?? 300}
      itemSpacing={10}
      orientation={orientation}
    />
  );
}

function TablePanel(props: PanelProps<any>) {
  const { data, options, width, height, fieldConfig, timeRange } = props;
  // Otherwise a renamed column would keep its old name.
  cacheFieldDisplayNames(data.series);
  const frame = data.series[options.frameIndex ?? 0];
  if (!frame || frame.length === 0 || frame.fields.length === 0) {
    return <Nothing props={props} />;
  }
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      noHeader={!options.showHeader}
      showTypeIcons={options.showTypeIcons}
      resizable
      sortBy={options.sortBy}
      cellHeight={options.cellHeight}
      enablePagination={options.enablePagination ?? options.footer?.enablePagination}
      fieldConfig={fieldConfig}
      timeRange={timeRange}
      structureRev={data.structureRev}
      enableVirtualization={false}
    />
  );
}

function TextPanel({ options, replaceVariables }: PanelProps<any>) {
  const html = renderMarkdown(replaceVariables(options.content));
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}

interface Span {
  from: number;
  to: number;
  text: string;
  color: string;
}

/** Ranges of equal values of a series. A gap of more than two steps ends a range. */
function spansOf(time: Field, field: Field, end: number): Span[] {
  const display = field.display ?? getDisplayProcessor({ field, theme });
  const step = time.config.interval ?? Infinity;
  const spans: Span[] = [];
  time.values.forEach((at, index) => {
    const value = field.values[index];
    const last = spans[spans.length - 1];
    if (value === null || value === undefined) {
      return;
    }
    const shown = display(value);
    const text = formattedValueToString(shown);
    const color = shown.color ?? theme.colors.text.disabled;
    const joined = last && at - last.to <= 2 * step;
    if (joined && last.text === text && last.color === color) {
      last.to = at;
    } else {
      if (joined) {
        last.to = at;
      }
      spans.push({ from: at, to: at, text, color });
    }
  });
  spans.forEach((span) => {
    span.to = Math.min(end, Math.max(span.to, span.from + (Number.isFinite(step) ? step : 0)));
  });
  return spans;
}

function StateTimelinePanel(props: PanelProps<any>) {
  const { data, width, height, options, timeRange, fieldConfig } = props;
  const chartTheme = useTheme2();
  const rows = graphable(data.series).flatMap((frame) => {
    const time = frame.fields.find((field) => field.type === FieldType.time)!;
    return frame.fields
      .filter((field) => field !== time)
      .map((field) => ({
        name: getFieldDisplayName(field, frame, data.series),
        spans: spansOf(time, field, timeRange.to.valueOf()),
      }));
  });
  if (rows.length === 0) {
    return <Nothing props={props} />;
  }
  const seen = new Map<string, string>();
  rows.forEach(({ spans }) => spans.forEach(({ text, color }) => seen.set(text, color)));
  const items = [...seen].map(([label, color]) => ({ label, color, yAxis: 1 }));
  const custom = fieldConfig.defaults.custom ?? {};
  const legend =
    options.legend?.showLegend === false ? null : (
      <VizLayout.Legend placement={options.legend?.placement ?? 'bottom'}>
        <VizLegend
          placement={options.legend?.placement ?? 'bottom'}
          items={items}
          displayMode={options.legend?.displayMode ?? ('list' as any)}
        />
      </VizLayout.Legend>
    );
  return (
    <VizLayout width={width} height={height} legend={legend as any}>
      {(innerWidth: number, innerHeight: number) => {
        const font = 12;
        const longest = Math.max(...rows.map(({ name }) => name.length));
        const left = Math.min(innerWidth * 0.35, 12 + longest * 6.6);
        const axis = 24;
        const band = (innerHeight - axis) / rows.length;
        const inner = band * (options.rowHeight ?? 0.9);
        const [start, end] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
        const x = (time: number) => left + ((time - start) / (end - start)) * (innerWidth - left - 8);
        const ticks = Array.from({ length: 6 }, (_, index) => start + ((index + 0.5) * (end - start)) / 6);
        return (
          <svg width={innerWidth} height={innerHeight} fontSize={font} fontFamily={chartTheme.typography.fontFamily}>
            {rows.map(({ name, spans }, row) => {
              const top = row * band + (band - inner) / 2;
              return (
                <g key={`${name} ${row}`}>
                  <text x={left - 8} y={top + inner / 2 + 4} textAnchor="end" fill={chartTheme.colors.text.primary}>
                    {name.length * 6.6 > left ? `${name.slice(0, Math.floor(left / 6.6) - 2)}…` : name}
                  </text>
                  {spans.map((span) => {
                    const from = x(Math.max(span.from, start));
                    const wide = Math.max(1, x(span.to) - from);
                    const shown =
                      options.showValue !== VisibilityMode.Never && inner > 13 && span.text.length * 6.6 + 8 < wide;
                    return (
                      <g key={span.from}>
                        <rect
                          x={from}
                          y={top}
                          width={wide}
                          height={Math.max(1, inner)}
                          fill={span.color}
                          fillOpacity={(custom.fillOpacity ?? 70) / 100}
                        />
                        {shown && (
                          <text x={from + 6} y={top + inner / 2 + 4} fill={chartTheme.colors.text.primary}>
                            {span.text}
                          </text>
                        )}
                      </g>
                    );
                  })}
                </g>
              );
            })}
            {ticks.map((time) => (
              <text
                key={time}
                x={x(time)}
                y={innerHeight - 6}
                textAnchor="middle"
                fill={chartTheme.colors.text.secondary}
              >
                {new Date(time).toISOString().slice(11, 16)}
              </text>
            ))}
          </svg>
        );
      }}
    </VizLayout>
  );
}

/** Custom properties of the plugins with Grafana's defaults. Without this registry overrides have no effect. */
const GRAPH_FIELDS = {
  drawStyle: GraphDrawStyle.Line,
  lineInterpolation: LineInterpolation.Linear,
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  lineStyle: undefined,
  fillBelowTo: undefined,
  spanNulls: false,
  insertNulls: false,
  showPoints: VisibilityMode.Auto,
  showValues: false,
  pointSize: 5,
  barAlignment: 0,
  barWidthFactor: 0.6,
  stacking: { mode: StackingMode.None, group: 'A' },
  transform: undefined,
  axisPlacement: AxisPlacement.Auto,
  axisLabel: '',
  axisColorMode: 'text',
  axisWidth: undefined,
  axisSoftMin: undefined,
  axisSoftMax: undefined,
  axisGridShow: undefined,
  axisCenteredZero: false,
  axisBorderShow: false,
  scaleDistribution: { type: 'linear' },
  thresholdsStyle: { mode: 'off' },
  hideFrom: { tooltip: false, viz: false, legend: false },
};
/** Properties that do not apply to the time field, as in Grafana. Otherwise its axis would have the label of the other. */
const OF_VALUES = ['axisLabel', 'scaleDistribution'];
const TIMELINE_FIELDS = {
  lineWidth: 0,
  fillOpacity: 70,
  axisPlacement: AxisPlacement.Auto,
  hideFrom: GRAPH_FIELDS.hideFrom,
};
const TABLE_FIELDS = {
  align: 'auto',
  cellOptions: { type: 'auto' },
  filterable: undefined,
  inspect: false,
  hidden: undefined,
  hideFrom: { viz: false },
  width: undefined,
  minWidth: undefined,
  wrapText: undefined,
  wrapHeaderText: undefined,
  footer: undefined,
};

function register(
  id: string,
  component: React.ComponentType<PanelProps<any>>,
  defaults: object,
  fields: object,
  noPadding = false,
) {
  const plugin = new PanelPlugin<any, any>(component as any);
  plugin.meta = { id, name: id, type: 'panel', info: { version: '', logos: {} }, module: '', baseUrl: '' } as any;
  plugin.useFieldConfig({
    useCustomConfig: (builder) => {
      for (const [path, defaultValue] of Object.entries(fields)) {
        builder.addCustomEditor({
          id: path,
          path,
          name: path,
          defaultValue,
          editor: () => null,
          override: () => null,
          process: identityOverrideProcessor,
          shouldApply: (field: Field) => !OF_VALUES.includes(path) || field.type === FieldType.number,
          settings: {},
        } as any);
      }
    },
  });
  plugin.setPanelOptions((builder) => {
    for (const [path, defaultValue] of Object.entries(defaults)) {
      builder.addCustomEditor({ id: path, path, name: path, defaultValue, editor: () => null } as any);
    }
  });
  // Otherwise it receives no annotations.
  plugin.setDataSupport({ annotations: id === 'timeseries' });
  if (noPadding) {
    plugin.setNoPadding();
  }
  registerRuntimePanelPlugin({ pluginId: id, plugin });
}

export function registerPanels(): void {
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] };
  const reduceOptions = { calcs: ['lastNotNull'], fields: '', values: false };
  register('timeseries', TimeSeriesPanel, { legend, tooltip: { mode: 'single', sort: 'none' } }, GRAPH_FIELDS);
  register(
    'stat',
    StatPanel,
    {
      reduceOptions,
      orientation: 'auto',
      colorMode: 'value',
      graphMode: 'area',
      justifyMode: 'auto',
      textMode: 'auto',
      wideLayout: true,
    },
    {},
  );
  register(
    'bargauge',
    BarGaugePanel,
    {
      reduceOptions,
      orientation: 'auto',
      displayMode: 'gradient',
      valueMode: 'color',
      showUnfilled: true,
      namePlacement: 'auto',
    },
    {},
  );
  register('table', TablePanel, { frameIndex: 0, showHeader: true, cellHeight: 'sm' }, TABLE_FIELDS, true);
  register(
    'state-timeline',
    StateTimelinePanel,
    { legend, rowHeight: 0.9, showValue: 'auto', mergeValues: true },
    TIMELINE_FIELDS,
  );
  register('text', TextPanel, { content: '', mode: 'markdown' }, {});
}
