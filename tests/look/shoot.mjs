// node shoot.mjs OUT 'board=jobs&theme=dark' [width] [height]: one picture of the whole page, and what was drawn as JSON beside it
import { chromium } from 'playwright-core'; import fs from 'node:fs'; import os from 'node:os'; import path from 'node:path';
const [out, query, width = '1600', height = '900', mode = 'full'] = process.argv.slice(2);
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'shoot-'));
const ctx = await chromium.launchPersistentContext(dir, { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, viewport: { width: +width, height: +height }, timezoneId: 'UTC', args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
const page = ctx.pages()[0] ?? (await ctx.newPage()), log = [];
page.on('console', (m) => log.push(`${m.type()}: ${m.text()}`)); page.on('pageerror', (e) => log.push('pageerror: ' + e.message.slice(0, 600)));
const t0 = Date.now(); await page.goto(`http://127.0.0.1:${process.env.PORT}/?${query}`);
try { await page.waitForFunction(() => window.failed || (window.expected && window.report.filter((r) => r.id).length >= window.expected), null, { timeout: 90000 }); } catch (e) { log.push('timeout'); }
await page.waitForTimeout(500);
if (mode === 'full') await page.setViewportSize({ width: +width, height: await page.evaluate(() => Math.ceil(document.getElementById('root').getBoundingClientRect().height)) });
await page.waitForTimeout(1000);
await page.screenshot({ path: out });
const drawn = await page.evaluate(() => ({ report: window.report, annotations: window.annotations, vars: window.vars, failed: window.failed }));
fs.writeFileSync(out.replace(/png$/, 'json'), JSON.stringify(drawn, null, 1));
const errors = [drawn.failed, ...drawn.report.map((panel) => panel.error && `${panel.title ?? panel.annotation}: ${panel.error}`), ...log.filter((line) => /^(pageerror|timeout)/.test(line))].filter(Boolean);
console.log(out, ((Date.now() - t0) / 1000).toFixed(1) + ' s', ...errors);
await ctx.close(); fs.rmSync(dir, { recursive: true, force: true });
process.exitCode = errors.length ? 1 : 0;
