// What the server answers. Times are ISO 8601 with an offset, unless a name ends in _s: seconds since the epoch.

export interface Me {
  name: string;
  /** Airflow's own path prefix, before /chandler and /api. */
  base: string;
}

export interface SeriesInfo {
  series: string;
  exchange: string;
  symbol: string;
  timeframe: string;
  feeds: string[];
  first: string | null;
  last: string | null;
  /** The exclusive end of what is accounted for without a gap. */
  watermark: string | null;
  /** The exclusive end of the last that is accounted for. */
  end: string | null;
  /** When it was traded no more. */
  ended: string | null;
  /** When a load of it was committed for the last time. */
  last_load: string | null;
  siblings: string[];
}

export interface SeriesCoverage {
  series: string;
  per_day: number;
  /** A letter a day; `states.js` has them. */
  states: string;
  /** By number of the day: absent candles by kind. */
  missing: Record<string, Record<string, number>>;
  partial: Record<string, number>;
  refused: Record<string, number>;
  revised: Record<string, number>;
  flagged: Record<string, number>;
}

export interface Coverage {
  start: string;
  days: number;
  series: SeriesCoverage[];
}

export interface Absence {
  start: string;
  end: string;
  slots: number;
  kind: string;
  evidence: string;
  first_seen: string | null;
  asked_at: string | null;
  probes: number;
  next_probe: string | null;
}

export interface Refused {
  id: number;
  open_time: string | null;
  /** When it opens if not then, which it does not tell. */
  later_open_time: string | null;
  rule: string;
  evidence: string;
  row: string;
  state: string;
}

export type Values = Record<"open" | "high" | "low" | "close" | "volume", number | null>;

export interface Revision {
  open_time: string;
  replaced_at: string;
  run: string;
  before: Values;
  /** Null if the archive alone has it. */
  after: Values | null;
}

export interface Load {
  run: string;
  loaded_at: string;
  start: string;
  end: string;
  rows: number;
  new: number;
  revised: number;
  absent: number;
  quarantined: number;
}

export interface FeedOfDay {
  dag_id: string;
  history_dag_id: string;
  /** The first day that the daily DAG loads. */
  start: string;
}

export interface Day {
  series: string;
  day: string;
  /** Whether the user may start runs of what loads it. */
  may_act: boolean;
  quality: {
    expected: number;
    stored: number;
    absent: Record<string, number>;
    refused: Record<string, number>;
    flagged: Record<string, number>;
    revisions: number;
  };
  absences: Absence[];
  refused: Refused[];
  revisions: Revision[];
  loads: Load[];
  incidents: Incident[];
  feeds: FeedOfDay[];
  more?: Record<string, number>;
}

export interface Candles {
  series: string;
  width: string;
  start: string;
  end: string;
  as_of: string | null;
  is_made: boolean;
  /** The archive alone keeps the candles, so that there is no more than one of each day. */
  is_retired: boolean;
  time_s: number[];
  open: number[];
  high: number[];
  low: number[];
  close: number[];
  volume: number[];
  /** Of how many stored candles each is. */
  counts: number[];
  flags: number[];
}

export interface Marks {
  anomalies: { open_time_s: number; score: number; incident: number | null }[];
  incidents: {
    id: number;
    start: string;
    end: string;
    peak: string;
    kind: string;
    scope: string;
    severity: string;
    state: string;
    is_history: boolean;
  }[];
  absences: { start: string; end: string; kind: string }[];
  revisions: { open_time_s: number; count: number }[];
  more?: Record<string, number>;
}

export interface Incident {
  id: number;
  /** Whether the user may judge it. */
  may_act: boolean;
  series: string;
  start: string;
  end: string;
  peak: string;
  kind: string;
  scope: string;
  severity: string;
  state: string;
  reason: string | null;
  is_history: boolean;
  opened_at: string;
  updated_at: string;
  acknowledged_at: string | null;
  is_false: boolean | null;
  note: string | null;
  once_in_days: number | null;
  once_in: string;
  score: number | null;
  move_pct: number | null;
}

export interface Incidents {
  total: number;
  incidents: Incident[];
  choices: Record<"kind" | "severity" | "scope" | "state", string[]>;
  next: string | null;
}

export interface Model {
  id: number;
  name: string;
  timeframe: string;
  scope: string;
  version: number | string;
  scorer: string;
  state: string;
  state_since: string;
  created_at: string;
  reason: string | null;
  learned: { start: string; end: string } | null;
  held_out: { start: string; end: string } | null;
  metrics: Record<string, number | string | null>;
  has_report: boolean;
}

export interface Models {
  models: Model[];
  /** How many older ones there are. */
  more: number;
  champions: number[];
  next: string | null;
}

export interface ExchangeHour {
  hour: string;
  requests: number;
  failed: number;
  outcomes: Record<string, number>;
  mean_s: number | null;
  p95_s: number | null;
  slowest_s: number;
}

export interface Exchange {
  exchange: string;
  /** Null of an exchange that nobody speaks to any more. */
  limit: number | null;
  interval_s: number | null;
  share: number;
  spent: number;
  spent_pct: number;
  paused_until: string | null;
  /** Those in which it was asked. */
  hours: ExchangeHour[];
}

export interface Exchanges {
  exchanges: Exchange[];
}
