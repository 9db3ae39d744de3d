// The tree of superclasses and categories: nodes with `id`, `label` and, of a superclass, `children`.

/** All nodes of a tree, superclasses before what is below them. */
export const nodes = tree => tree.flatMap(node => [node, ...nodes(node.children ?? [])]);

/**
 * The ids of the nodes that some categories need, superclasses before what is below them.
 *
 * @param {object[]} tree nodes.
 * @param {string[]} categories ids.
 * @returns {string[]}
 */
export function usedNodes(tree, categories) {
  const wanted = new Set(categories);
  return tree.flatMap(({id, children}) => {
    if (!children) return wanted.has(id) ? [id] : [];
    const below = usedNodes(children, categories);
    return below.length ? [id, ...below] : [];
  });
}
