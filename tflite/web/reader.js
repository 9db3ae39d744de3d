/**
 * Makes a function that reads the files below an address.
 *
 * @param {URL} base the address.
 * @returns {(name: string) => Promise<Uint8Array>} refuses a file that cannot be loaded.
 */
export const reader = base => async name => {
  const answer = await fetch(new URL(name, base), {cache: 'no-cache'}).catch(() => null);
  if (!answer?.ok) throw new Error(`The file ${name} cannot be loaded. Is the server running?`);
  return new Uint8Array(await answer.arrayBuffer());
};
