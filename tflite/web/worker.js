// The service worker: keeps what the page has loaded, so that it works offline, and gives answers
// the headers that threads need, which static servers do not send.

const CACHE = 'explorer-1';
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};
const MADE_ON_REQUEST = 'cutout.tflite';
const PACK = '/data/pack/';
const HASHED = /\.[\da-f]{12}\.tflite$/; // a name that no other content has

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', event => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', event => {
  const {request} = event;
  const url = new URL(request.url);
  const mine = request.method === 'GET' && url.origin === location.origin;
  if (mine && !url.pathname.endsWith(MADE_ON_REQUEST)) event.respondWith(answer(request));
});

// The page names the addresses that it needs offline: all are kept as they are now, and files of
// packs that it no longer names go.
self.addEventListener('message', ({data, ports}) => {
  const renew = async cache => {
    for (const url of data.keep) {
      if (HASHED.test(url) && await cache.match(url)) continue;
      await cache.add(new Request(url, {cache: 'no-cache'}));
    }
    for (const request of await cache.keys()) {
      const old = request.url.includes(PACK) && !data.keep.includes(request.url);
      if (old) await cache.delete(request);
    }
  };
  caches.open(CACHE).then(renew).then(() => ports[0].postMessage(true),
    () => ports[0].postMessage(false));
});

// The newest answer; without a network connection, or with a server that fails, the one that is
// kept.
async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    // Servers that say nothing of caching let browsers keep old files for hours.
    const fresh = request.mode === 'navigate' ? request : new Request(request, {cache: 'no-cache'});
    const response = await fetch(fresh);
    if (response.status === 200) await cache.put(request, response.clone());
    return response.status < 500 ? isolated(response) : (await kept(cache, request)) ?? response;
  } catch (error) {
    const response = await kept(cache, request);
    if (!response) throw error;
    return response;
  }
}

async function kept(cache, request) {
  const response = await cache.match(request, {ignoreSearch: request.mode === 'navigate'});
  return response && isolated(response);
}

function isolated(response) {
  if (response.status === 0 || response.status === 204) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const {status, statusText} = response;
  return new Response(response.body, {status, statusText, headers});
}
