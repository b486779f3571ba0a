// Data source that converts responses of the Prometheus HTTP API to data frames, like Grafana's plugin.

import {
  AnnotationEvent,
  DataFrame,
  FieldType,
  type DataQueryRequest,
  type MetricFindValue,
  type ScopedVars,
} from '@grafana/data';
import { RuntimeDataSource, sceneGraph } from '@grafana/scenes';
import { from, of } from 'rxjs';

const API = '/prometheus/api/v1';

interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: Array<[number, string]>;
}

async function callApi(path: string, parameters: Record<string, string>): Promise<any> {
  const response = await fetch(`${API}/${path}`, { method: 'POST', body: new URLSearchParams(parameters) });
  const body = await response.json();
  if (body.status !== 'success') {
    throw new Error(`${body.errorType}: ${body.error}`);
  }
  return body.data;
}

const escaped = (text: string) => text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/'/g, "\\\\'");
const regexEscaped = (text: string) => text.replace(/\\/g, '\\\\\\\\').replace(/[$^*{}[\]+?.()|]/g, '\\\\$&');

/** Value of a variable in a query. A variable with several values is used in a regular expression. */
function inExpression(value: unknown, variable: any): string {
  if (Array.isArray(value)) {
    const parts = value.map((part) => regexEscaped(String(part)));
    return parts.length === 1 ? parts[0] : `(${parts.join('|')})`;
  }
  return variable?.multi || variable?.includeAll ? regexEscaped(String(value)) : escaped(String(value));
}

const number = (text: string) => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

const written = (metric: Record<string, string>) => {
  const labels = Object.entries(metric)
    .filter(([name]) => name !== '__name__')
    .map(([name, value]) => `${name}="${value}"`);
  return `${metric.__name__ ?? ''}${labels.length > 0 || !metric.__name__ ? `{${labels.join(',')}}` : ''}`;
};

function nameOf(target: any, metric: Record<string, string>, expression: string): string | undefined {
  const format = target.legendFormat;
  if (format === '__auto') {
    return Object.keys(metric).length > 0 ? undefined : expression;
  }
  if (format) {
    return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_: string, label: string) => metric[label] ?? '');
  }
  const name = written(metric);
  return name === '{}' ? expression : name;
}

export class Prometheus extends RuntimeDataSource {
  interval: string;

  constructor(
    uid: string,
    private scrapeSeconds: number,
  ) {
    super('prometheus', uid);
    this.interval = `${scrapeSeconds}s`;
    (this as any).annotations = {
      prepareAnnotation: (annotation: any) => ({
        ...annotation,
        target: annotation.target?.expr
          ? annotation.target
          : { refId: 'Anno', expr: annotation.expr, range: true, interval: annotation.step },
      }),
      prepareQuery: (annotation: any) => annotation.target,
      processEvents: (annotation: any, frames: DataFrame[]) => of(this.events(annotation, frames)),
    };
  }

  private interpolated(text: string, vars: ScopedVars): string {
    const scene = (vars.__sceneObject as any)?.value?.valueOf();
    return scene ? sceneGraph.interpolate(scene, text, vars, inExpression as any) : text;
  }

  query(request: DataQueryRequest<any>): any {
    const targets = request.targets.filter((target) => !target.hide && target.expr);
    const tables = targets.filter((target) => target.format === 'table').length;
    return from(
      Promise.all(targets.map((target) => this.one(target, request, tables))).then((frames) => ({
        data: frames.flat(),
      })),
    );
  }

  private async one(target: any, request: DataQueryRequest<any>, tables: number): Promise<DataFrame[]> {
    const range = request.range;
    const span = (range.to.valueOf() - range.from.valueOf()) / 1000;
    const least = /^(\d+)(s|m)$/.exec(target.interval ?? '');
    const step = Math.max(
      Math.ceil(request.intervalMs / 1000),
      least ? Number(least[1]) * (least[2] === 'm' ? 60 : 1) : 0,
      Math.ceil(span / 11000),
      1,
    );
    const own = (text: string) => ({ text, value: text });
    const vars = {
      ...request.scopedVars,
      __interval: own(`${step}s`),
      __interval_ms: own(String(step * 1000)),
      __rate_interval: own(`${Math.max(step + this.scrapeSeconds, 4 * this.scrapeSeconds)}s`),
      __range: own(`${Math.round(span)}s`),
      __range_s: own(String(Math.round(span))),
      __range_ms: own(String(Math.round(span * 1000))),
    };
    const query = this.interpolated(target.expr, vars as any);
    const instant = target.instant && !target.range;
    const data = instant
      ? await callApi('query', { query, time: String(range.to.valueOf() / 1000) })
      : await callApi('query_range', {
          query,
          start: String(Math.floor(range.from.valueOf() / 1000 / step) * step),
          end: String(Math.floor(range.to.valueOf() / 1000 / step) * step),
          step: String(step),
        });
    const result: Series[] = data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : data.result;
    const points = (series: Series) => (series.values ?? [series.value!]) as Array<[number, string]>;
    if (target.format === 'table') {
      return result.length === 0 ? [] : [table(result, points, target.refId, tables > 1)];
    }
    return result.map((series) => {
      const name = nameOf(target, series.metric, query);
      return {
        refId: target.refId,
        name,
        meta: { custom: { resultType: data.resultType }, executedQueryString: query },
        length: points(series).length,
        fields: [
          {
            name: 'Time',
            type: FieldType.time,
            config: instant ? {} : { interval: step * 1000 },
            values: points(series).map(([time]) => time * 1000),
          },
          {
            name: 'Value',
            type: FieldType.number,
            config: name === undefined ? {} : { displayNameFromDS: name },
            labels: series.metric,
            values: points(series).map(([, value]) => number(value)),
          },
        ],
      } as DataFrame;
    });
  }

  /** Values of the query of a variable: the forms of label_values(...) and query_result(...) that the dashboards use. */
  async metricFindQuery(query: any, options: any): Promise<MetricFindValue[]> {
    const vars = { ...options.scopedVars } as ScopedVars;
    const text = this.interpolated(typeof query === 'string' ? query : query.query, vars).trim();
    const range = options.range;
    const window = { start: String(range.from.valueOf() / 1000), end: String(range.to.valueOf() / 1000) };
    const labels = /^label_values\((?:([^]+),\s*)?([a-zA-Z_]\w*)\s*\)$/.exec(text);
    if (labels) {
      const [, selector, label] = labels;
      const values = await callApi('series', { 'match[]': selector ?? `{${label}!=""}`, ...window });
      const known = new Set<string>(
        values.map((series: any) => series[label]).filter((value: unknown) => value !== undefined),
      );
      return [...known].sort().map((value) => ({ text: value, value }));
    }
    const result = /^query_result\(([^]+)\)$/.exec(text);
    if (result) {
      const { result: series } = await callApi('query', { query: result[1], time: window.end });
      return (series as Series[]).map(({ metric, value }) => ({
        text: `${written(metric)} ${value![1]} ${value![0] * 1000}`,
      }));
    }
    throw new Error(`unsupported query of a variable: ${text}`);
  }

  private events(annotation: any, frames: DataFrame[]): AnnotationEvent[] {
    const events: AnnotationEvent[] = [];
    for (const frame of frames) {
      const [times, values] = frame.fields;
      const labels = values.labels ?? {};
      const filled = (format: string) => format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? '');
      const step = (times.config.interval ?? 60000) + 1;
      let last: AnnotationEvent | undefined;
      for (let index = 0; index < frame.length; index += 1) {
        const value = values.values[index];
        if (!value) {
          continue;
        }
        const time =
          annotation.useValueForTime === true || annotation.useValueForTime === 'on' ? value : times.values[index];
        if (last && time - (last.timeEnd ?? last.time!) <= step) {
          last.timeEnd = time;
          last.isRegion = last.timeEnd !== last.time;
          continue;
        }
        last = {
          time,
          timeEnd: time,
          title: filled(annotation.titleFormat ?? ''),
          text: filled(annotation.textFormat ?? ''),
          tags: (annotation.tagKeys ?? '')
            .split(',')
            .map((key: string) => labels[key.trim()])
            .filter(Boolean),
          color: annotation.iconColor,
        } as AnnotationEvent;
        events.push(last);
      }
    }
    return events;
  }
}

function table(
  result: Series[],
  points: (series: Series) => Array<[number, string]>,
  refId: string,
  several: boolean,
): DataFrame {
  const rows = result.flatMap((series) => points(series).map((point) => ({ metric: series.metric, point })));
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const field = (name: string, type: FieldType, values: unknown[], config = {}) => ({ name, type, config, values });
  return {
    refId,
    length: rows.length,
    meta: { preferredVisualisationType: 'table' },
    fields: [
      field(
        'Time',
        FieldType.time,
        rows.map(({ point }) => point[0] * 1000),
      ),
      ...labels.map((label) =>
        field(
          label,
          label === 'le' ? FieldType.number : FieldType.string,
          rows.map(({ metric }) => metric[label] ?? ''),
          { filterable: true },
        ),
      ),
      field(
        several ? `Value #${refId}` : 'Value',
        FieldType.number,
        rows.map(({ point }) => number(point[1])),
      ),
    ],
  } as DataFrame;
}
