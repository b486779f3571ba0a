// Draws dashboards in headless Chromium, writes a screenshot of each, and prints the content of every panel.
//
//   node draw.mjs --prometheus http://127.0.0.1:9090 --out DIR [--from now-15m] [--to now] [--scrape SECONDS]
//                 [--dashboards DIR] PICTURE=DASHBOARD[?var-name=value&...] ...
//
// PICTURE is the file name without .png. Exits with 1 if a panel fails or shows an unresolved ${...}.

import { readdirSync, readFileSync, mkdtempSync, mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import esbuild from 'esbuild';
import { chromium } from 'playwright-core';
import sharp from 'sharp';

const here = dirname(fileURLToPath(import.meta.url));
const { values: given, positionals: pictures } = parseArgs({
  allowPositionals: true,
  options: {
    prometheus: { type: 'string' },
    out: { type: 'string' },
    from: { type: 'string', default: 'now-15m' },
    to: { type: 'string', default: 'now' },
    scrape: { type: 'string', default: '15' },
    dashboards: { type: 'string', default: join(here, '../../../dashboards') },
  },
});
const WIDTH = 1600;
/** Unresolved variables and invalid values, which no panel may show. */
const RAW = /\$\{|\$__|\bundefined\b|\[object|\bNaN\b/;
const TIMEOUT_MS = 60_000;

const temporary = mkdtempSync(join(tmpdir(), 'dashboards-'));
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => process.exit(130));
}

/** Omits the code editors, which are large and unused. */
const withoutEditors = {
  name: 'without-editors',
  setup(build) {
    build.onResolve({ filter: /^(monaco-editor|react-monaco-editor|@monaco-editor)/ }, ({ path }) => ({
      path,
      namespace: 'left-out',
    }));
    build.onLoad({ filter: /.*/, namespace: 'left-out' }, () => ({ contents: 'module.exports = {};', loader: 'js' }));
  },
};

/** plugin-compat imports names that only some versions have, which requires a lenient import. */
const lenientCompat = {
  name: 'lenient-compat',
  setup(build) {
    build.onResolve({ filter: /^@grafana\/runtime/ }, ({ path, importer }) =>
      importer.includes('plugin-compat') ? { path, namespace: 'lenient' } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: 'lenient' }, ({ path }) => ({
      contents: `module.exports = require('${path}');`,
      loader: 'js',
      resolveDir: here,
    }));
  },
};

async function buildBundle() {
  const folder = join(temporary, 'bundle');
  await esbuild.build({
    entryPoints: [join(here, 'app/main.tsx')],
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    jsx: 'automatic',
    target: 'chrome120',
    logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"' },
    loader: { '.woff2': 'file', '.woff': 'file', '.ttf': 'empty', '.svg': 'dataurl' },
    plugins: [withoutEditors, lenientCompat],
  });
  return folder;
}

const HTML = `<!doctype html><meta charset="utf-8"><title>dashboards</title><link rel="stylesheet" href="/main.css">
<style>body { margin: 0 } #root { min-height: 100vh }</style>
<script>
window.__grafana_public_path__ = '/public/';
window.grafanaBootData = { settings: { buildInfo: { version: '13.2.3' }, featureToggles: {}, datasources: {}, panels: {}, apps: {} },
  user: { timezone: 'utc', locale: 'en-US', language: 'en-US', orgRole: 'Viewer' }, navTree: [] };
</script>
<div id="root"></div><script type="module" src="/main.js"></script>`;

const TYPES = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.woff': 'font/woff',
  '.map': 'application/json',
};

const dashboards = readdirSync(given.dashboards)
  .filter((name) => name.endsWith('.json'))
  .map((name) => ({ ...JSON.parse(readFileSync(join(given.dashboards, name), 'utf8')), file: name.slice(0, -5) }));

/** Serves HTML, bundle, icons, dashboards and Prometheus under one origin. */
function serve(bundle) {
  const icons = join(here, 'node_modules/@grafana/ui/dist/public');
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://here');
    const send = (status, type, body) => response.writeHead(status, { 'content-type': type }).end(body);
    try {
      if (pathname === '/') {
        send(200, 'text/html', HTML);
      } else if (pathname === '/dashboards') {
        send(200, 'application/json', JSON.stringify(dashboards));
      } else if (pathname.startsWith('/prometheus/')) {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        const headers = { 'content-type': request.headers['content-type'] ?? '' };
        const url = given.prometheus + request.url.slice('/prometheus'.length);
        const upstream = await fetch(url, {
          method: request.method,
          headers,
          body: chunks.length > 0 ? Buffer.concat(chunks) : undefined,
        });
        send(upstream.status, 'application/json', Buffer.from(await upstream.arrayBuffer()));
      } else {
        const font = /^\/public\/fonts\/inter\/Inter-(Regular|Medium)/.exec(pathname)?.[1];
        const file = font
          ? join(
              here,
              'node_modules/@fontsource/inter/files',
              `inter-latin-${font === 'Regular' ? 400 : 500}-normal.woff2`,
            )
          : pathname.startsWith('/public/build/')
            ? join(icons, pathname.slice(14))
            : join(bundle, pathname);
        send(200, TYPES[extname(file)] ?? 'application/octet-stream', readFileSync(file));
      }
    } catch (error) {
      send(error.code === 'ENOENT' ? 404 : 502, 'text/plain', String(error));
    }
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** Waits until every panel has its data and the document no longer changes. */
async function waitUntilStable(tab) {
  const until = Date.now() + TIMEOUT_MS;
  let before = '';
  let stableRounds = 0;
  while (Date.now() < until) {
    await tab.waitForTimeout(500);
    const state = await tab.evaluate(() => {
      if (window.failure) return { failure: window.failure };
      if (!window.report) return {};
      return { panels: window.report(), height: window.height() };
    });
    if (state.failure) {
      throw new Error(state.failure);
    }
    const ready =
      state.panels?.length > 0 && state.panels.every((panel) => panel.state === 'Done' || panel.state === 'Error');
    const now = ready ? `${state.height} ${JSON.stringify(state.panels)}` : '';
    stableRounds = ready && now === before ? stableRounds + 1 : 0;
    before = now;
    if (stableRounds >= 3) {
      return state;
    }
  }
  throw new Error(`not stable after ${TIMEOUT_MS / 1000} s: ${before.slice(0, 2000)}`);
}

let failed = false;
const bundle = await buildBundle();
const server = await serve(bundle);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--hide-scrollbars',
  ],
});
mkdirSync(given.out, { recursive: true });
try {
  for (const argument of pictures) {
    const [, name, dashboard, query = ''] = /^([^=]+)=([^?]+)\??(.*)$/.exec(argument);
    const tab = await browser.newPage({
      viewport: { width: WIDTH, height: 1000 },
      timezoneId: 'UTC',
      locale: 'en-US',
    });
    const errors = [];
    tab.on('pageerror', (error) => errors.push(error.stack ?? error.message));
    tab.on(
      'console',
      (message) =>
        message.type() === 'error' && !message.text().startsWith('Failed to load') && errors.push(message.text()),
    );
    // The package lacks some icons of the core.
    tab.on(
      'response',
      (response) =>
        response.status() >= 400 &&
        !response.url().endsWith('.svg') &&
        errors.push(`${response.status()} ${response.url()}`),
    );
    const common = new URLSearchParams({ dashboard, from: given.from, to: given.to, scrape: given.scrape });
    await tab.goto(`http://127.0.0.1:${server.address().port}/?${common}&${query}`);
    let state;
    try {
      state = await waitUntilStable(tab);
      // Makes the entire dashboard visible, so that everything is laid out before the screenshot.
      await tab.setViewportSize({ width: WIDTH, height: Math.ceil(state.height) });
      state = await waitUntilStable(tab);
    } catch (error) {
      failed = true;
      console.error(`${name}: ${error.message}\n${errors.join('\n')}`);
      await sharp(await tab.screenshot()).toFile(join(given.out, `${name}.png`));
      continue;
    }
    // A palette reduces the size to a third without a visible difference.
    const picture = sharp(await tab.screenshot({ fullPage: true })).png({
      palette: true,
      colours: 192,
      effort: 10,
      dither: 0,
    });
    const { size } = await picture.toFile(join(given.out, `${name}.png`));
    console.log(
      `${name}: dashboard ${dashboard}${query && `, ${query}`}, ${state.panels.length} panels, ${Math.round(size / 1000)} kB`,
    );
    console.log(`  ${Math.max(...state.panels.map((panel) => panel.annotations))} annotations`);
    for (const panel of state.panels) {
      const wrong = [];
      if (panel.error) wrong.push(panel.error);
      const raw = panel.text.split('\n').find((line) => RAW.test(line));
      if (raw) wrong.push(`shows ${raw}`);
      for (const link of panel.links) {
        const { pathname, searchParams } = new URL(link, 'http://grafana');
        const dashboard = dashboards.find(({ uid }) => pathname === `/d/${uid}`);
        const names = (dashboard?.templating?.list ?? []).map(({ name }) => `var-${name}`);
        const lost = [...searchParams].filter(
          ([name, value]) =>
            (RAW.test(value) && value !== '$__all') ||
            value === '' ||
            !['from', 'to', 'timezone', ...names].includes(name),
        );
        if (!dashboard || lost.length > 0) wrong.push(`link ${link}: ${dashboard ? lost.join(' ') : 'no such dashboard'}`);
      }
      failed ||= wrong.length > 0;
      const shown = panel.nothing
        ? `empty: ${panel.nothing}`
        : `${panel.series} series, ${panel.rows} rows${panel.links.length > 0 ? `, links such as ${panel.links[0]}` : ''}`;
      console.log(
        `  ${panel.type.padEnd(15)} ${panel.title.padEnd(46)} ${shown}${wrong.length > 0 ? `  WRONG: ${wrong.join('; ')}` : ''}`,
      );
    }
    errors.forEach((text) => console.log(`  console: ${text.slice(0, 300)}`));
    await tab.close();
  }
} finally {
  await browser.close();
  server.close();
  server.closeAllConnections();
}
process.exit(failed ? 1 : 0);
