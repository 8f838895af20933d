import { createRoot } from 'react-dom/client';
import { useEffect, useState, useMemo } from 'react';
import { cacheFieldDisplayNames, createTheme, getFieldDisplayValues, getDisplayValueAlignmentFactors, dateTime, DashboardCursorSync, FieldType, formattedValueToString, ThemeContext } from '@grafana/data';
import { BigValue, GlobalStyles, LinkButton, Icon, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { EventBusSrv } from '@grafana/data';
import { ask, exemplars, escapeRegex, interpolate, labelValues, steps, title } from './prom.js';
import { dress, fieldConfigOf } from './fields.js';
import { Heat, Marks, NoData, Timeline } from './own.jsx';

const P = new URLSearchParams(location.search);
const prom = P.get('prom'), theme = createTheme({ colors: { mode: P.get('theme') ?? 'dark' } });
const ago = (t, fallback) => { const m = /^now(?:-(\d+)([smhd]))?$/.exec(t ?? fallback); return m ? Date.now() - (m[1] ? m[1] * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[m[2]] : 0) : +t; };
const range = { from: ago(P.get('from'), 'now-6h'), to: ago(P.get('to'), 'now') };
const timeRange = { from: dateTime(range.from), to: dateTime(range.to), raw: { from: P.get('from') ?? 'now-6h', to: P.get('to') ?? 'now' } };
const report = (window.report = []); // what was drawn: for tests
const CELL = 30, GAP = 8;
const context = { eventsScope: 'global', eventBus: new EventBusSrv(), sync: () => DashboardCursorSync.Crosshair, canAddAnnotations: () => false };

function Stat({ panel, frames, width, height }) {
  const o = panel.options, fc = fieldConfigOf(panel);
  const getValues = () => getFieldDisplayValues({ data: frames, fieldConfig: fc, reduceOptions: o.reduceOptions, replaceVariables: (s) => s, theme, timeZone: 'utc', sparkline: false });
  return <VizRepeater source={frames} getValues={getValues} getAlignmentFactors={(v, w, h) => getDisplayValueAlignmentFactors(v)} width={width} height={height} itemSpacing={3} renderCounter={0} autoGrid orientation={o.orientation ?? 'auto'}
    renderValue={({ value, width: w, height: h, alignmentFactors, count }) => <BigValue value={value.display} count={count} colorMode={o.colorMode} graphMode={o.graphMode} justifyMode={o.justifyMode} textMode={o.textMode} alignmentFactors={alignmentFactors} width={w} height={h} theme={theme} disableWideLayout={!o.wideLayout} />} />;
}
const finite = (frames) => frames.map((f) => ({ ...f, fields: f.fields.map((x) => (x.type === FieldType.number ? { ...x, values: x.values.map((v) => (Number.isFinite(v) ? v : null)) } : x)) })); // as Grafana's prepareGraphableFields
function Lines({ panel, frames: some, width, height, annotations, dots }) {
  const frames = useMemo(() => finite(some), [some]);
  if (!frames.length) return <NoData width={width} height={height} />;
  return <PanelContextProvider value={context}><TimeSeries frames={frames} structureRev={1} width={width} height={height} timeRange={timeRange} timeZone="utc" legend={panel.options.legend} options={panel.options}>
    {(config) => <Marks key="m" config={config} annotations={annotations} dots={dots} theme={theme} />}</TimeSeries></PanelContextProvider>;
}
const Grid = ({ panel, frames, width, height }) => { cacheFieldDisplayNames(frames); return frames.length && frames[0].length ? <TableNG data={frames[0]} width={width} height={height} noHeader={!panel.options.showHeader} initialSortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight} timeRange={timeRange} fieldConfig={fieldConfigOf(panel)} structureRev={1} enableVirtualization={false} /> : <NoData width={width} height={height}>{panel.fieldConfig.defaults.noValue}</NoData>; };
const KINDS = { stat: Stat, timeseries: Lines, table: Grid, 'state-timeline': Timeline, heatmap: Heat };

function Panel({ panel, vars, width, height, annotations }) {
  const [state, set] = useState();
  useEffect(() => { (async () => {
    const line = { id: panel.id, type: panel.type, title: title(panel.title, vars), row: panel.rowTitle };
    try {
      const raw = (await Promise.all(panel.targets.map((t) => ask(prom, t, vars, range, width, panel.targets.length)))).flat();
      const frames = await dress(panel, raw, theme);
      const wants = panel.targets.filter((t) => t.exemplar);
      let dots = wants.length ? (await Promise.all(wants.map((t) => exemplars(prom, t, vars, range, width)))).flat() : [];
      Object.assign(line, { series: raw.length, points: raw.reduce((n, f) => n + f.length, 0), dots: dots.length, names: raw.slice(0, 40).map((f) => f.fields.at(-1).config.displayNameFromDS ?? f.fields.at(-1).name), last: raw.slice(0, 40).map((f) => { const d = frames.find((x) => x.refId === f.refId)?.fields?.at(-1)?.display; const v = f.fields.at(-1).values.at(-1); return d ? formattedValueToString(d(v)) : v; }) });
      set({ frames, dots });
    } catch (e) { line.error = String(e.stack); set({ error: String(e) }); }
    report.push(line);
  })(); }, []);
  const Kind = KINDS[panel.type];
  return <PanelChrome title={title(panel.title, vars)} description={panel.description} width={width} height={height} statusMessage={state?.error}>
    {(w, h) => !state ? null : state.error ? <NoData width={w} height={h}>{state.error}</NoData> : Kind ? <Kind panel={panel} frames={state.frames} dots={state.dots} annotations={annotations} range={range} width={w} height={h} /> : <NoData width={w} height={h}>kind {panel.type} not drawn</NoData>}
  </PanelChrome>;
}
const layout = (panels, vars) => panels.map((p) => ({ ...p, vars, y: p.gridPos.y }));
async function variables(board) {
  const vars = { datasource: { text: 'Prometheus' } };
  for (const v of board.templating.list) {
    if (v.type === 'query') {
      const values = await labelValues(prom, v.query.query ?? v.query, vars, range), asked = P.getAll(`var-${v.name}`);
      const isAll = v.includeAll && !asked.length, chosen = asked.length ? asked : isAll ? values : values.slice(0, 1);
      vars[v.name] = isAll ? { text: 'All', regex: v.allValue ?? `(${values.map(escapeRegex).join('|')})`, values, all: values } : { text: chosen.join(' + '), regex: chosen.length > 1 ? `(${chosen.map(escapeRegex).join('|')})` : escapeRegex(chosen[0] ?? ''), values: chosen, all: values };
    } else if (v.type !== 'datasource') vars[v.name] = { text: P.get(`var-${v.name}`) ?? v.current?.value ?? '' };
  }
  return vars;
}
async function marksOf(board, vars) {
  const out = [];
  for (const a of board.annotations?.list ?? []) {
    if (!a.enable || !a.expr) continue;
    try {
      const frames = await ask(prom, { expr: a.expr, legendFormat: a.textFormat, range: true, refId: 'A' }, vars, range, 360), step = 60e3;
      for (const f of frames) { const ts = f.fields[0].values.filter((_, k) => f.fields[1].values[k] > 0), gap = f.fields[0].config.interval * 1.5; let start; ts.forEach((t, k) => { start ??= t; if (k + 1 === ts.length || ts[k + 1] - t > Math.max(gap, step)) { out.push({ from: start, to: t, color: a.iconColor, text: f.fields[1].config.displayNameFromDS, name: a.name }); start = undefined; } }); }
    } catch (e) { report.push({ annotation: a.name, error: String(e) }); }
  }
  return out;
}
const box = { display: 'flex', alignItems: 'center', height: 32, fontSize: 12, border: `1px solid ${theme.components.input.borderColor}`, borderRadius: 2, overflow: 'hidden' };
function Bar({ board, vars, marks }) {
  const names = [...new Set(marks.map((m) => m.text))];
  return <div>
    <div style={{ display: 'flex', alignItems: 'center', gap: 8, padding: '8px 16px', borderBottom: `1px solid ${theme.colors.border.weak}`, fontSize: 14, color: theme.colors.text.primary }}>
      <span style={{ color: theme.colors.text.secondary }}>Home › Dashboards › Job exporter ›</span><b>{board.title}</b><span style={{ flex: 1 }} />
      <span style={{ ...box, padding: '0 8px' }}><Icon name="clock-nine" />&nbsp;Last {(timeRange.raw.from ?? '').replace('now-', '')}</span><span style={{ ...box, padding: '0 8px' }}><Icon name="sync" />&nbsp;{board.refresh}</span></div>
    <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, padding: '8px 16px 0' }}>
      {board.templating.list.filter((v) => v.hide !== 2).map((v) => <div key={v.name} style={box}><span style={{ padding: '0 8px', background: theme.colors.background.secondary, height: '100%', display: 'flex', alignItems: 'center', color: theme.colors.text.primary, fontWeight: 500 }}>{v.label}&nbsp;<Icon name="info-circle" size="sm" /></span><span style={{ padding: '0 8px', color: theme.colors.text.primary, minWidth: 60 }}>{vars[v.name]?.text || ' '} {v.type === 'textbox' ? '' : <Icon name="angle-down" />}</span></div>)}
      {(board.annotations?.list ?? []).filter((a) => a.expr).map((a) => <div key={a.name} style={{ ...box, padding: '0 8px', gap: 8, color: theme.colors.text.primary }}><i style={{ width: 10, height: 10, borderRadius: 5, background: theme.visualization.getColorByName(a.iconColor) }} />{a.name}<span style={{ width: 28, height: 14, borderRadius: 7, background: theme.colors.primary.main }} /></div>)}
      <span style={{ flex: 1 }} />{board.links.map((l) => <LinkButton key={l.title} variant="secondary" size="md" icon={l.icon === 'doc' ? 'file-alt' : l.icon === 'bolt' ? 'bolt' : 'external-link-alt'} href="#" tooltip={l.tooltip}>{l.title}</LinkButton>)}
    </div></div>;
}
function Page({ board, vars, marks }) {
  const width = (+P.get('content') || innerWidth) - 32, col = (width + GAP) / 24, all = useMemo(() => layout(board.panels, vars), []);
  const height = Math.max(...all.map((p) => (p.y + p.gridPos.h) * (CELL + GAP)));
  useEffect(() => { window.expected = all.filter((p) => p.type !== 'row').length; }, []);
  return <div style={{ background: theme.colors.background.canvas, minHeight: '100vh', paddingBottom: 16, width: +P.get('content') || undefined }}>
    <Bar board={board} vars={vars} marks={marks} />
    <div style={{ position: 'relative', margin: '12px 16px 0', height }}>
      {all.map((p) => { const g = p.gridPos, w = g.w * col - GAP, h = g.h * (CELL + GAP) - GAP; return <div key={p.key ?? p.id} style={{ position: 'absolute', left: g.x * col, top: p.y * (CELL + GAP), width: w, height: h }}>
        {p.type === 'row' ? <div style={{ display: 'flex', alignItems: 'center', height: 30, color: theme.colors.text.primary, fontWeight: 500, fontSize: 16 }}><Icon name={p.collapsed ? 'angle-right' : 'angle-down'} size="lg" />&nbsp;{title(p.title, p.vars)}</div> : <Panel panel={p} vars={p.vars} width={w} height={h} annotations={P.get('marks') === '0' ? [] : marks} />}</div>; })}
    </div></div>;
}
(async () => {
  // measured text needs the font: @font-face of GlobalStyles loads on use, too late
  const face = (w, n) => new FontFace('Inter', `url(public/fonts/inter/Inter-${n}.woff2)`, { weight: w }).load().then((f) => document.fonts.add(f)).catch(() => {});
  await Promise.all([face('400', 'Regular'), face('500', 'Medium')]);
  const board = await (await fetch(`dashboards/${P.get('board') ?? 'jobs'}.json`)).json(), vars = await variables(board), marks = await marksOf(board, vars);
  window.annotations = marks.map((m) => ({ ...m, from: new Date(m.from).toISOString(), to: new Date(m.to).toISOString() })); window.vars = vars;
  createRoot(document.getElementById('root')).render(<ThemeContext.Provider value={theme}><GlobalStyles /><Page board={board} vars={vars} marks={marks} /></ThemeContext.Provider>);
})().catch((e) => { document.body.innerText = String(e.stack); window.failed = String(e.stack); });
