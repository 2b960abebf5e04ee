//! Errors on one line.

/// The most characters of a message: what a file holds may be quoted in it, and be as long as the file.
const LONGEST: usize = 4000;

/// An error and its causes on one line, without causes that the message before repeats; control characters of what is quoted are
/// written out, and what is longer than a page is cut.
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
    printable(&text)
}

fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(LONGEST) {
        if c.is_control() && c != '\n' && c != '\t' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    let left = text.chars().count().saturating_sub(LONGEST);
    if left > 0 { format!("{shown} … ({left} characters more)") } else { shown }
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

    #[test]
    fn what_a_file_holds_does_no_harm_in_a_message() {
        let error = anyhow::anyhow!("the file names os\u{1b}[31m.system{}", "x".repeat(LONGEST));
        let text = chain(&error);
        assert!(text.starts_with("the file names os\\u{1b}[31m.systemxx"), "{text}");
        assert!(text.ends_with("xx … (29 characters more)") && text.len() < 4100, "{text}");
    }
}
