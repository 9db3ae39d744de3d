// Keeps the page and the network for use without a connection: see worker.js.

const ISOLATED_ONCE = 'reloaded-for-threads';

/**
 * Starts the service worker, and gives it what the page has loaded and will need.
 *
 * @param {string[]} files addresses of the network's files.
 * @returns {Promise<boolean>} whether the page now works offline.
 */
export async function keepForOffline(files) {
  if (!navigator.serviceWorker) return false; // http, or a browser without it
  await navigator.serviceWorker.register('worker.js');
  const {active} = await navigator.serviceWorker.ready;
  if (!self.crossOriginIsolated && !sessionStorage.getItem(ISOLATED_ONCE)) {
    // A static server without the headers for threads: the worker adds them from now on.
    sessionStorage.setItem(ISOLATED_ONCE, 'yes');
    location.reload();
    return false;
  }
  const loaded = performance.getEntriesByType('resource').map(({name}) => name)
    .filter(name => name.startsWith(location.origin) && !name.includes('cutout.tflite'));
  const keep = [...new Set([location.href, ...loaded, ...files])];
  const {port1, port2} = new MessageChannel();
  const answer = new Promise(resolve => { port1.onmessage = ({data}) => resolve(data); });
  active.postMessage({keep}, [port2]);
  return answer;
}
