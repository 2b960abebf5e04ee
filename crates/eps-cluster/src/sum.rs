//! Sums whose order does not depend on who computes the terms.
//!
//! Terms 0, 1, …, P − 1 are the leaves of a binary tree: terms 2k and 2k + 1 are added first, then pairs of pairs; what
//! has no neighbour goes up as it is. A process computes the sums that lie within its own terms, the rest is added from
//! those, so that every addition of the tree is done once, with the same numbers, on any number of processes.

use std::ops::Range;

use crate::exchange::Host;
use crate::{Exchange, Group};

/// A sum over a part of the tree: its leaves are `index · 2^level` and the 2^level − 1 behind it.
#[derive(Debug, Clone, PartialEq)]
struct Node<T> {
    level: u32,
    index: usize,
    value: T,
}

/// The terms of one process, which come one after the other; at most two sums of each level are held.
#[derive(Debug, Clone, Default)]
pub struct TreeSum<T> {
    nodes: Vec<Node<T>>,
}

impl<T> TreeSum<T> {
    /// A sum of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { nodes: vec![] }
    }

    /// Takes term number `index`; the number before it must be that of the term before it.
    pub fn push(&mut self, index: usize, value: T, add: impl FnMut(T, T) -> T) {
        self.take(Node { level: 0, index, value }, add);
    }

    fn take(&mut self, mut node: Node<T>, mut add: impl FnMut(T, T) -> T) {
        // A right neighbour completes the sum of both.
        while node.index % 2 == 1 {
            let is_left =
                |left: &mut Node<T>| left.level == node.level && left.index + 1 == node.index;
            let Some(left) = self.nodes.pop_if(is_left) else { break };
            let value = add(left.value, node.value);
            node = Node { level: node.level + 1, index: node.index / 2, value };
        }
        self.nodes.push(node);
    }

    /// The sum of all terms, where these are all from 0 on; nothing where there are none.
    pub fn finish(self, mut add: impl FnMut(T, T) -> T) -> Option<T> {
        let mut nodes = self.nodes.into_iter().rev();
        let last = nodes.next()?.value;
        Some(nodes.fold(last, |sum, left| add(left.value, sum)))
    }

    /// The same sums as values of another type.
    ///
    /// # Errors
    /// The first of `to`.
    pub fn try_map<U, E>(self, mut to: impl FnMut(T) -> Result<U, E>) -> Result<TreeSum<U>, E> {
        let node = |Node { level, index, value }| Ok(Node { level, index, value: to(value)? });
        Ok(TreeSum { nodes: self.nodes.into_iter().map(node).collect::<Result<_, E>>()? })
    }

    /// The sums that are held, one behind the other.
    fn into_values(self) -> Vec<T> {
        self.nodes.into_iter().map(|node| node.value).collect()
    }

    /// The levels and indices of the sums that a range of terms leaves.
    fn places(terms: Range<usize>) -> Vec<(u32, usize)> {
        let mut sum = TreeSum::new();
        for term in terms {
            sum.push(term, (), |(), ()| ());
        }
        sum.nodes.iter().map(|node| (node.level, node.index)).collect()
    }
}

/// The terms of process `rank` of `size`, where there are `terms` in all: as many for each as can be, in order.
#[must_use]
pub fn share(terms: usize, rank: usize, size: usize) -> Range<usize> {
    let bound = |rank: usize| {
        let product = terms as u128 * rank as u128 / size.max(1) as u128;
        usize::try_from(product).unwrap_or(terms)
    };
    bound(rank)..bound(rank + 1)
}

/// The sum of all processes' vectors on the host, by their [`Group`]: as [`all_reduce_by`] has it.
///
/// # Panics
/// Those of [`all_reduce_by`].
pub fn all_reduce(
    group: &dyn Group,
    terms: usize,
    own: TreeSum<Vec<f32>>,
    length: usize,
) -> Vec<f32> {
    all_reduce_by(&Host(group), terms, own, length)
}

/// The sum of all processes' vectors, on every process, each addition done once as the tree of `terms` has it.
///
/// `own` are the sums of the terms that [`share`] gives this process, where the exchange has its vectors: one, or up to
/// 2 log₂ `terms` where its terms are no whole subtree. Every process adds a slice of the vectors: it sends and receives each of its sums once and
/// the result once, whatever the number of processes. Long vectors go in blocks, which bounds messages and memory.
///
/// # Panics
/// If `own` was not made of the terms of this process, or its vectors are not of `length`.
pub fn all_reduce_by<V>(
    exchange: &dyn Exchange<V>,
    terms: usize,
    own: TreeSum<V>,
    length: usize,
) -> V {
    in_blocks(exchange, terms, own, (length, BLOCK))
}

/// [`all_reduce_by`], and of how many values the blocks are.
fn in_blocks<V>(
    exchange: &dyn Exchange<V>,
    terms: usize,
    own: TreeSum<V>,
    (length, most): (usize, usize),
) -> V {
    let (rank, size) = exchange.place();
    let own = own.into_values();
    assert!(own.iter().all(|sum| exchange.length(sum) == length), "sums of {length} values");
    let places: Vec<Vec<(u32, usize)>> =
        (0..size).map(|rank| TreeSum::<()>::places(share(terms, rank, size))).collect();
    assert_eq!(own.len(), places[rank].len(), "the sums of this process");
    let of_block = |begin| {
        let block = begin..length.min(begin + most);
        sum_of_block(exchange, &places, &own, block)
    };
    exchange.concat((0..length).step_by(most).map(of_block).collect())
}

/// The values of a vector that are summed at once.
const BLOCK: usize = 1 << 24;

/// [`all_reduce_by`] of a block of the sums at `places` of each process.
fn sum_of_block<V>(
    exchange: &dyn Exchange<V>,
    places: &[Vec<(u32, usize)>],
    own: &[V],
    block: Range<usize>,
) -> V {
    let add = |a, b| exchange.add(a, b);
    let (rank, size) = exchange.place();
    let slices: Vec<Range<usize>> = (0..size)
        .map(|rank| share(block.len(), rank, size))
        .map(|slice| block.start + slice.start..block.start + slice.end)
        .collect();
    let piece = |slice: &Range<usize>| {
        exchange.concat(own.iter().map(|sum| exchange.slice(sum, slice.clone())).collect())
    };
    let mine = slices[rank].len();
    let counts: Vec<usize> = places.iter().map(|places| places.len() * mine).collect();
    let received = exchange.all_to_all(slices.iter().map(piece).collect(), &counts);
    let mut sum = TreeSum::new();
    for (places, values) in places.iter().zip(&received) {
        for (at, (level, index)) in places.iter().enumerate() {
            let value = exchange.slice(values, at * mine..(at + 1) * mine);
            sum.take(Node { level: *level, index: *index, value }, add);
        }
    }
    let slice = sum.finish(add).unwrap_or_else(|| exchange.concat(vec![]));
    let counts: Vec<usize> = slices.iter().map(ExactSizeIterator::len).collect();
    exchange.all_gather(slice, &counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alone;

    /// The tree as it is defined, from the top.
    fn expected(terms: Range<usize>) -> String {
        match terms.len() {
            1 => terms.start.to_string(),
            count => {
                let middle = terms.start + count.next_power_of_two() / 2;
                format!("({}+{})", expected(terms.start..middle), expected(middle..terms.end))
            }
        }
    }

    fn add(a: String, b: String) -> String {
        format!("({a}+{b})")
    }

    #[test]
    fn additions_are_those_of_the_tree_for_any_number_of_processes() {
        assert_eq!(expected(0..5), "(((0+1)+(2+3))+4)");
        for terms in 1..40 {
            for size in 1..=9 {
                let mut all = TreeSum::new();
                for rank in 0..size {
                    let mut own = TreeSum::new();
                    for term in share(terms, rank, size) {
                        own.push(term, term.to_string(), add);
                    }
                    let places = TreeSum::<()>::places(share(terms, rank, size));
                    assert_eq!(places.len(), own.nodes.len());
                    own.nodes.into_iter().for_each(|node| all.take(node, add));
                }
                assert_eq!(all.finish(add).unwrap(), expected(0..terms), "{terms}, {size}");
            }
        }
        assert_eq!(TreeSum::<String>::new().finish(add), None);
    }

    #[test]
    fn shares_are_of_one_size_where_they_can_be() {
        let shares: Vec<_> = (0..3).map(|rank| share(8, rank, 3)).collect();
        assert_eq!(shares, [0..2, 2..5, 5..8]);
        assert_eq!(share(2, 3, 4), 1..2);
        assert_eq!(share(usize::MAX, 0, 1), 0..usize::MAX);
    }

    #[test]
    fn one_process_sums_its_own() {
        let mut sum = TreeSum::new();
        let add = |a: Vec<f32>, b: Vec<f32>| a.iter().zip(&b).map(|(a, b)| a + b).collect();
        for term in 0..3 {
            sum.push(term, vec![term as f32, 1.0], add);
        }
        assert_eq!(all_reduce(&Alone, 3, sum.clone(), 2), [3.0, 3.0]);
        assert_eq!(in_blocks(&Host(&Alone), 3, sum, (2, 1)), [3.0, 3.0]);
    }
}
