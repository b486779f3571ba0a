// Draws dashboards in headless Chromium and writes one picture of each; prints what every panel showed.
//
//   node draw.mjs --prometheus http://127.0.0.1:9090 --out DIR [--from now-15m] [--to now] [--scrape SECONDS]
//                 [--dashboards DIR] PICTURE=BOARD[?var-name=value&...] ...
//
// A picture is the name of the file without .png. Exits 1 if a panel failed, or shows a name in ${...} to people.

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
/** What must not reach people: a variable that nobody replaced, a value that is none. */
const RAW = /\$\{|\$__|\bundefined\b|\[object|\bNaN\b/;
const PATIENCE = 60_000;

const temporary = mkdtempSync(join(tmpdir(), 'dashboards-'));
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => process.exit(130));
}

/** Editors of code are of no use here, and large. */
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

/** plugin-compat imports what older and newer versions have and looks what is there; that needs a lenient import. */
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

async function bundled() {
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

const PAGE = `<!doctype html><meta charset="utf-8"><title>dashboards</title><link rel="stylesheet" href="/main.css">
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

/** Page, bundle, icons, dashboards, and Prometheus under the same origin. */
function served(bundle) {
  const icons = join(here, 'node_modules/@grafana/ui/dist/public');
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://here');
    const send = (status, type, body) => response.writeHead(status, { 'content-type': type }).end(body);
    try {
      if (pathname === '/') {
        send(200, 'text/html', PAGE);
      } else if (pathname === '/dashboards') {
        send(200, 'application/json', JSON.stringify(dashboards));
      } else if (pathname.startsWith('/prometheus/')) {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        const headers = { 'content-type': request.headers['content-type'] ?? '' };
        const url = given.prometheus + request.url.slice('/prometheus'.length);
        const answer = await fetch(url, {
          method: request.method,
          headers,
          body: chunks.length > 0 ? Buffer.concat(chunks) : undefined,
        });
        send(answer.status, 'application/json', Buffer.from(await answer.arrayBuffer()));
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

/** Waits until every panel has its answer and the page has been still for a while. */
async function settled(page) {
  const until = Date.now() + PATIENCE;
  let before = '';
  let still = 0;
  while (Date.now() < until) {
    await page.waitForTimeout(500);
    const state = await page.evaluate(() => {
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
    still = ready && now === before ? still + 1 : 0;
    before = now;
    if (still >= 3) {
      return state;
    }
  }
  throw new Error(`not still after ${PATIENCE / 1000} s: ${before.slice(0, 2000)}`);
}

let failed = false;
const bundle = await bundled();
const server = await served(bundle);
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
  for (const asked of pictures) {
    const [, name, dashboard, query = ''] = /^([^=]+)=([^?]+)\??(.*)$/.exec(asked);
    const page = await browser.newPage({
      viewport: { width: WIDTH, height: 1000 },
      timezoneId: 'UTC',
      locale: 'en-US',
    });
    const said = [];
    page.on('pageerror', (error) => said.push(error.stack ?? error.message));
    page.on(
      'console',
      (message) =>
        message.type() === 'error' && !message.text().startsWith('Failed to load') && said.push(message.text()),
    );
    // The package does not have all icons of the core.
    page.on(
      'response',
      (answer) =>
        answer.status() >= 400 && !answer.url().endsWith('.svg') && said.push(`${answer.status()} ${answer.url()}`),
    );
    const common = new URLSearchParams({ dashboard, from: given.from, to: given.to, scrape: given.scrape });
    await page.goto(`http://127.0.0.1:${server.address().port}/?${common}&${query}`);
    let state;
    try {
      state = await settled(page);
      // The whole dashboard in sight, so that everything is laid out before the picture.
      await page.setViewportSize({ width: WIDTH, height: Math.ceil(state.height) });
      state = await settled(page);
    } catch (error) {
      failed = true;
      console.error(`${name}: ${error.message}\n${said.join('\n')}`);
      await sharp(await page.screenshot()).toFile(join(given.out, `${name}.png`));
      continue;
    }
    // A palette: a third of the bytes, and nobody sees it.
    const picture = sharp(await page.screenshot({ fullPage: true })).png({
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
    said.forEach((text) => console.log(`  the page said: ${text.slice(0, 300)}`));
    await page.close();
  }
} finally {
  await browser.close();
  server.close();
  server.closeAllConnections();
}
process.exit(failed ? 1 : 0);
