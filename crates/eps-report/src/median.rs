//! The median of numbers with its interval.

use eps_math::whole;

/// The median of some values between the ends of its 95 % interval, the order statistics n/2 ∓ 0.98 √n.
pub(crate) fn median(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let last = n.checked_sub(1)?;
    let away = 0.98 * (n as f64).sqrt();
    let low = whole(n as f64 / 2.0 - away);
    let middle = 0.5 * (values[last / 2] + values[n / 2]);
    Some([values[low.min(last)], middle, values[last - low.min(last)]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_stands_between_order_statistics() {
        let [low, middle, high] = median((1..=30).map(f64::from).collect()).unwrap();
        assert_eq!((low, middle, high), (10.0, 15.5, 21.0));
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![2.0]), Some([2.0; 3]));
    }
}
