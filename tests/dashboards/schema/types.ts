// Types of a saved dashboard: Grafana's own types, made strict enough to detect typing mistakes.
//
// The types of the package are made for code: string enums do not accept literals, options and queries are open records,
// and the value of an override is unknown. Here enums become their values, a panel gets the types of its plugin, and an
// override the type of its property. Options are optional, because plugins have defaults.

import type * as schema from '@grafana/schema';
import type { PrometheusDataQuery } from 'prometheus-query';

export type { schema };

/** JSON form of a type: an enum becomes one of its values. */
export type Plain<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;

type Some<T> = T extends Array<infer U> ? Array<Some<U>> : T extends object ? { [K in keyof T]?: Some<T[K]> } : T;

/** Link of a field, for which the package has no usable type. */
interface DataLink {
  title: string;
  url: string;
  targetBlank?: boolean;
}

type Query = Plain<Omit<PrometheusDataQuery, 'datasource' | 'refId' | 'expr'>> & {
  datasource: Plain<schema.DataSourceRef>;
  refId: string;
  expr: string;
};

export type FieldConfig<Custom> = Omit<Plain<schema.FieldConfig>, 'custom' | 'links'> & {
  custom?: Some<Plain<Custom>>;
  links?: DataLink[];
};

interface FieldConfigSource<Custom> {
  defaults: FieldConfig<Custom>;
  // Values are checked individually against Property.
  overrides: Array<{ matcher: Plain<schema.MatcherConfig>; properties: Array<{ id: string; value?: unknown }> }>;
}

export type Panel<Kind extends string, Options, Custom> = Omit<
  Plain<schema.Panel>,
  'type' | 'options' | 'fieldConfig' | 'targets' | 'title' | 'gridPos' | 'id'
> & {
  id: number;
  type: Kind;
  title: string;
  gridPos: Plain<schema.GridPos>;
  options?: Some<Plain<Options>>;
  fieldConfig?: FieldConfigSource<Custom>;
  targets?: Query[];
};

export type Row = Omit<Plain<schema.RowPanel>, 'panels'> & { panels: unknown[] };

// The plugin of the data source defines the query of an annotation and of a variable.
export type Annotation = Omit<Plain<schema.AnnotationQuery>, 'target' | 'datasource'> & {
  datasource: Plain<schema.DataSourceRef>;
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: string | boolean;
  target?: unknown;
};
export type Variable = Omit<Plain<schema.VariableModel>, 'id' | 'current'> & {
  id?: string;
  current?: Partial<Plain<schema.VariableOption>>;
  /** Query as shown in the list of variables. */
  definition?: string;
  query?: string | { query: string; refId: string; qryType?: number };
};

/** Requirement that Grafana adds to an exported dashboard. */
interface Requirement {
  type: 'grafana' | 'datasource' | 'panel';
  id: string;
  name: string;
  version: string;
}

export type Dashboard = Partial<Omit<Plain<schema.Dashboard>, 'panels' | 'annotations' | 'templating'>> & {
  uid: string;
  title: string;
  schemaVersion: number;
  panels: unknown[];
  annotations?: { list: unknown[] };
  templating?: { list: unknown[] };
  __requires?: Requirement[];
  __inputs?: unknown[];
  __elements?: Record<string, unknown>;
};

type At<T, Path extends string> = Path extends `${infer Head}.${infer Rest}`
  ? Head extends keyof T
    ? At<NonNullable<T[Head]>, Rest>
    : never
  : Path extends keyof T
    ? NonNullable<T[Path]>
    : never;

/** Value of an override of the property with this ID, or never if there is no such property. */
export type Property<Custom, Id extends string> = At<FieldConfig<Custom>, Id>;
