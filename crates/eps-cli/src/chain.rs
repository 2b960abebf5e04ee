//! Errors on one line.

/// An error and its causes on one line, without causes that the message before repeats.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        if text.is_empty() {
            text = message;
        } else if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_does_not_repeat_itself() {
        let cause = std::io::Error::other("the disk is full");
        let error = anyhow::Error::new(cause).context("a.png: the disk is full").context("writing");
        assert_eq!(chain(&error), "writing: a.png: the disk is full");
    }
}
