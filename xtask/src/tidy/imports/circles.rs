//! Circles of a directed graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Edges from a node to another.
pub(super) type Graph = BTreeSet<(usize, usize)>;

/// Nodes that can all be reached from each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Circle {
    pub(super) members: Vec<usize>,
    /// The edges of a shortest way from the first member back to it.
    pub(super) way: Vec<(usize, usize)>,
}

/// Every largest set of at least two nodes that can be reached from each other.
pub(super) fn circles(graph: &Graph) -> Vec<Circle> {
    let nodes: BTreeSet<usize> = graph.iter().flat_map(|&(from, to)| [from, to]).collect();
    let reached: BTreeMap<usize, BTreeMap<usize, usize>> =
        nodes.iter().map(|&node| (node, reach(graph, node))).collect();
    let mut placed = BTreeSet::new();
    let mut circles = Vec::new();
    for &node in &nodes {
        let is_mutual = |&other: &usize| {
            other != node
                && reached[&node].contains_key(&other)
                && reached[&other].contains_key(&node)
        };
        let mut members: Vec<usize> = nodes.iter().copied().filter(is_mutual).collect();
        if !members.is_empty() && placed.insert(node) {
            placed.extend(&members);
            members.insert(0, node);
            circles.push(Circle { way: way_around(&reached[&node], node), members });
        }
    }
    circles
}

/// The nodes that are reached from one over at least an edge, each with the node before it on a
/// shortest way.
fn reach(graph: &Graph, start: usize) -> BTreeMap<usize, usize> {
    let mut came_from = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(node) = open.pop_front() {
        for &(_, to) in graph.range((node, 0)..=(node, usize::MAX)) {
            if to != node && !came_from.contains_key(&to) {
                came_from.insert(to, node);
                open.push_back(to);
            }
        }
    }
    came_from
}

fn way_around(came_from: &BTreeMap<usize, usize>, start: usize) -> Vec<(usize, usize)> {
    let mut way = Vec::new();
    let mut node = start;
    loop {
        let before = came_from[&node];
        way.push((before, node));
        node = before;
        if node == start {
            way.reverse();
            return way;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_without_circles_has_none() {
        assert_eq!(circles(&Graph::from([(0, 1), (1, 2), (0, 2), (3, 3)])), []);
        assert_eq!(circles(&Graph::new()), []);
    }

    #[test]
    fn circles_that_touch_are_one_and_others_are_apart() {
        // 0 → 1 → 2 → 0 and 1 → 3 → 1 share node 1; 4 ⇄ 5 hangs below them.
        let graph = Graph::from([(0, 1), (1, 2), (2, 0), (1, 3), (3, 1), (3, 4), (4, 5), (5, 4)]);
        let found = circles(&graph);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].members, [0, 1, 2, 3]);
        assert_eq!(found[0].way, [(0, 1), (1, 2), (2, 0)]);
        assert_eq!(found[1].members, [4, 5]);
        assert_eq!(found[1].way, [(4, 5), (5, 4)]);
    }
}
