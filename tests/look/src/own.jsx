// Drawn by us, NOT by Grafana (its panels of these kinds are not on npm): state timeline, heatmap, annotations, exemplar dots.
import { useEffect, useLayoutEffect, useRef } from 'react';
import { VizLegend, VizLayout, useTheme2 } from '@grafana/ui';
import { formattedValueToString, getFieldDisplayName, getValueFormat, FieldType } from '@grafana/data';
import * as chromatic from 'd3-scale-chromatic';
import dayjs from 'moment';

const text = (v, unit, decimals) => formattedValueToString(getValueFormat(unit)(v, decimals));
export function timeTicks(from, to, width) {
  const want = (to - from) / Math.max(2, width / 80), list = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880].map((m) => m * 60e3);
  const step = list.find((s) => s >= want) ?? list.at(-1), out = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) out.push(t);
  return out;
}
function axis(ctx, theme, range, left, width, y, height) {
  ctx.fillStyle = theme.colors.text.primary; ctx.textAlign = 'center'; ctx.textBaseline = 'top'; ctx.font = `12px ${theme.typography.fontFamily}`;
  for (const t of timeTicks(range.from, range.to, width)) {
    const x = left + ((t - range.from) / (range.to - range.from)) * width;
    ctx.fillText(dayjs.utc(t).format('HH:mm'), x, y + 8);
    ctx.strokeStyle = theme.isDark ? 'rgba(240,250,255,.09)' : 'rgba(0,10,23,.09)'; ctx.beginPath(); ctx.moveTo(x, height); ctx.lineTo(x, y); ctx.stroke();
  }
}
function Canvas({ width, height, draw }) {
  const ref = useRef();
  useLayoutEffect(() => {
    const c = ref.current, r = devicePixelRatio || 1; c.width = width * r; c.height = height * r;
    const ctx = c.getContext('2d'); ctx.scale(r, r); draw(ctx);
  });
  return <canvas ref={ref} style={{ width, height, display: 'block' }} />;
}
export function Timeline({ panel, frames, range, width, height, annotations }) {
  const theme = useTheme2();
  const rows = frames.map((f) => ({ name: getFieldDisplayName(f.fields[1], f, frames), time: f.fields[0], value: f.fields[1] }));
  // As Grafana's getFieldLegendItem for a fixed colour mode: each text that occurs, with its colour.
  const states = new Map();
  rows.forEach((r) => r.value.values.forEach((v) => { const d = r.value.display(v); if (v != null) states.set(d.text, d.color); }));
  const items = [...states].map(([label, color]) => ({ label, color, yAxis: 1 }));
  const legendHeight = rows.length ? 30 : 0, h = height - legendHeight;
  if (!rows.length) return <NoData width={width} height={height} />;
  return <div><Canvas width={width} height={h} draw={(ctx) => {
    ctx.font = `12px ${theme.typography.fontFamily}`;
    const left = Math.min(width / 2, Math.max(...rows.map((r) => ctx.measureText(r.name).width)) + 16), w = width - left - 8, bottom = h - 28, slot = bottom / rows.length;
    axis(ctx, theme, range, left, w, bottom, 0);
    rows.forEach((r, i) => {
      const y = i * slot + slot * 0.075, hh = slot * 0.85;
      ctx.fillStyle = theme.colors.text.primary; ctx.textAlign = 'right'; ctx.textBaseline = 'middle'; ctx.fillText(r.name, left - 8, i * slot + slot / 2);
      const gap = (r.time.config.interval ?? 60e3) * 1.01;
      for (let k = 0; k < r.time.values.length; k++) {
        const t = r.time.values[k], n = k + 1 < r.time.values.length ? r.time.values[k + 1] : range.to, end = n - t > gap ? t + gap : n;
        ctx.fillStyle = r.value.display(r.value.values[k]).color; ctx.globalAlpha = 0.8;
        const x0 = left + ((t - range.from) / (range.to - range.from)) * w, x1 = left + ((Math.min(end, range.to) - range.from) / (range.to - range.from)) * w;
        ctx.fillRect(Math.max(left, x0), y, Math.max(0.6, x1 - Math.max(left, x0) + 0.4), hh); ctx.globalAlpha = 1;
      }
    });
    marks(ctx, annotations, (t) => left + ((t - range.from) / (range.to - range.from)) * w, left, w, bottom, theme);
  }} /><VizLegend displayMode="list" placement="bottom" items={items} /></div>;
}
export function Heat({ panel, frames, range, width, height, dots, annotations }) {
  const theme = useTheme2(), o = panel.options;
  if (!frames.length) return <NoData width={width} height={height} />;
  const le = (f) => (f.fields[1].labels.le === '+Inf' ? Infinity : +f.fields[1].labels.le);
  const rows = [...frames].sort((a, b) => le(a) - le(b));
  const step = rows[0].fields[0].config.interval, below = new Map(), cells = [];
  rows.forEach((f, y) => f.fields[0].values.forEach((t, k) => { const v = f.fields[1].values[k] - (below.get(t) ?? 0); below.set(t, f.fields[1].values[k]); if (v > (o.filterValues?.le ?? -Infinity)) cells.push({ t, y, v }); }));
  const min = Math.min(...cells.map((c) => c.v)), max = Math.max(...cells.map((c) => c.v)), n = o.color.steps ?? 64;
  let palette = Array.from({ length: n }, (_, i) => chromatic['interpolate' + o.color.scheme](i / (n - 1)));
  if (theme.isLight ? o.color.scheme === 'Turbo' : o.color.scheme === 'Oranges') palette.reverse(); // as Grafana's palettes.ts does; exponent is for mode opacity only
  return <Canvas width={width} height={height} draw={(ctx) => {
    ctx.font = `12px ${theme.typography.fontFamily}`;
    const names = rows.map((f) => (le(f) === Infinity ? '+Inf' : text(le(f), o.yAxis?.unit ?? 's'))), left = Math.max(...names.map((x) => ctx.measureText(x).width)) + 16;
    const w = width - left - 8, bottom = height - 28, slot = bottom / rows.length, every = Math.ceil(18 / slot);
    axis(ctx, theme, range, left, w, bottom, 0);
    names.forEach((name, y) => { if (y % every === 0) { ctx.fillStyle = theme.colors.text.primary; ctx.textAlign = 'right'; ctx.textBaseline = 'middle'; ctx.fillText(name, left - 8, Math.max(7, bottom - (y + 1) * slot)); } });
    const cw = (step / (range.to - range.from)) * w;
    for (const c of cells) {
      ctx.fillStyle = palette[max > min ? Math.round(((c.v - min) / (max - min)) * (n - 1)) : 0];
      ctx.fillRect(left + ((c.t - range.from) / (range.to - range.from)) * w - cw, bottom - (c.y + 1) * slot, Math.max(1, cw - (o.cellGap ?? 1)), Math.max(1, slot - (o.cellGap ?? 1)));
    }
    for (const d of dots ?? []) { const y = rows.findIndex((f) => d.value <= le(f)); ctx.fillStyle = o.exemplars?.color; ctx.beginPath(); ctx.arc(left + ((d.time - range.from) / (range.to - range.from)) * w, bottom - (y + 0.5) * slot, 2.5, 0, 7); ctx.fill(); }
    marks(ctx, annotations, (t) => left + ((t - range.from) / (range.to - range.from)) * w, left, w, bottom, theme);
  }} />;
}
export const NoData = ({ width, height, children }) => { const t = useTheme2(); return <div style={{ width, height, display: 'flex', alignItems: 'center', justifyContent: 'center', color: t.colors.text.secondary, fontSize: 14 }}>{children ?? 'No data'}</div>; };

function marks(ctx, list, at, left, w, bottom, theme) {
  for (const a of list ?? []) {
    const x0 = Math.max(left, at(a.from)), x1 = Math.min(left + w, at(a.to)); if (x1 < left || x0 > left + w) continue;
    const c = theme.visualization.getColorByName(a.color); ctx.save();
    ctx.fillStyle = c; ctx.globalAlpha = 0.1; if (x1 - x0 > 1) ctx.fillRect(x0, 0, x1 - x0, bottom); ctx.globalAlpha = 1;
    ctx.strokeStyle = c; ctx.setLineDash([5, 5]); ctx.lineWidth = 1; ctx.beginPath(); ctx.moveTo(x0, 0); ctx.lineTo(x0, bottom); ctx.moveTo(x1, 0); ctx.lineTo(x1, bottom); ctx.stroke();
    ctx.setLineDash([]); ctx.fillRect(x0 - (x1 - x0 > 1 ? 0 : 3), bottom, Math.max(6, x1 - x0), 4); ctx.restore();
  }
}
// Inside Grafana's TimeSeries: annotations as bands, exemplars as diamonds clipped to the axis.
export function Marks({ config, annotations, dots, theme }) {
  useLayoutEffect(() => {
    config.addHook('draw', (u) => {
      const r = devicePixelRatio || 1, { ctx, bbox } = u; ctx.save(); ctx.scale(r, r);
      marks(ctx, annotations, (t) => u.valToPos(t, 'x', true) / r, bbox.left / r, bbox.width / r, (bbox.top + bbox.height) / r, theme);
      const key = Object.keys(u.scales).find((k) => k !== 'x' && Number.isFinite(u.scales[k].max)), s = u.scales[key];
      if (!s) { ctx.restore(); return; }
      for (const d of dots ?? []) {
        const v = Math.min(s.max, Math.max(s.min, d.value)), x = u.valToPos(d.time, 'x', true) / r, y = u.valToPos(v, key, true) / r;
        ctx.fillStyle = theme.isDark ? '#6e9fff' : '#3871dc'; ctx.save(); ctx.translate(x, y); ctx.rotate(Math.PI / 4); ctx.fillRect(-3, -3, 6, 6); ctx.restore();
      }
      ctx.restore();
    });
  }, [config]);
  return null;
}
