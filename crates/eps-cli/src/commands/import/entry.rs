//! Which of a file's networks is meant, by their names.

use anyhow::{Result, bail, ensure};

/// How many names a message lists.
const LISTED: usize = 12;

/// What weights without names of a network are called in messages.
const UNNAMED: &str = "the file's own";

/// What is chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Which of the names.
    pub(super) at: usize,
    /// What is to be said of it, where there were others.
    pub(super) note: Option<String>,
}

/// The one of several networks that `asked` names, the one with averaged weights, or the only one.
///
/// A name is the way to the network, its parts joined by dots; `asked` may be any run of these parts. Averages that
/// lie in the file but cannot be read, at `unread`, keep the others from being taken in their place without a word.
///
/// # Errors
/// A name that is there not at all or more than once, and several networks none of which is named as averaged.
pub(super) fn choose(names: &[String], unread: &[String], asked: Option<&str>) -> Result<Choice> {
    let all: Vec<usize> = (0..names.len()).collect();
    let meant = match asked {
        None => all,
        Some(asked) => {
            let whole = all.iter().copied().filter(|at| names[*at] == asked).collect::<Vec<_>>();
            let part = all.into_iter().filter(|at| has_run(&names[*at], asked));
            if whole.is_empty() { part.collect() } else { whole }
        }
    };
    if let (Some(asked), true) = (asked, meant.is_empty()) {
        bail!("--entry {asked}: the file has no network of that name, it has {}", list(names));
    }
    let most = meant.iter().map(|at| averages(&names[*at])).max().unwrap_or(0);
    if let (None, 0, [unread, ..]) = (asked, most, unread) {
        bail!(
            "the averaged weights (EMA) of the file, {unread}, have no names by which a network could be filled: save \
             them as a state dict, or take the weights without averaging by --entry: {}",
            list(names)
        );
    }
    let best: Vec<usize> =
        meant.iter().copied().filter(|at| averages(&names[*at]) == most).collect();
    let [at] = best[..] else {
        ensure!(!best.is_empty(), "the file has no network");
        bail!(
            "the file has {} networks and {}: name one by --entry, of {}",
            best.len(),
            if most == 0 { "none is called an average (EMA)" } else { "all are averages (EMA)" },
            list(&best.iter().map(|at| names[*at].clone()).collect::<Vec<_>>())
        );
    };
    let others: Vec<String> = meant.into_iter().filter(|i| *i != at).map(shown(names)).collect();
    let note = (!others.is_empty()).then(|| {
        format!(
            "the file has {} networks: {}, the averaged weights (EMA), is taken, and not {}; --entry NAME takes \
             another",
            others.len() + 1,
            shown(names)(at),
            others.join(", ")
        )
    });
    Ok(Choice { at, note })
}

/// Whether the parts of `asked` follow each other in a name.
fn has_run(name: &str, asked: &str) -> bool {
    let asked: Vec<&str> = asked.trim_matches('.').split('.').collect();
    name.split('.').collect::<Vec<_>>().windows(asked.len()).any(|run| run == asked)
}

/// How many parts of a name say that its weights are averages.
fn averages(name: &str) -> usize {
    name.split('.').filter(|part| is_average(part)).count()
}

/// Whether a part of a name says that what it names are averaged weights.
pub(super) fn is_average(part: &str) -> bool {
    const WHOLE: [&str; 6] = ["averaged", "average", "avg", "shadow", "swa", "polyak"];
    const JOINED: [&str; 6] = ["model", "net", "unet", "network", "params", "weights"];
    words(part).iter().any(|word| {
        let digits = |rest: &str| rest.chars().all(|c| c.is_ascii_digit());
        let begins = word.strip_prefix("ema");
        let ends = word.strip_suffix("ema");
        begins.is_some_and(|rest| digits(rest) || JOINED.contains(&rest))
            || ends.is_some_and(|rest| JOINED.contains(&rest))
            || WHOLE.contains(&word.as_str())
    })
}

/// Whether a part of a name says that what it names belongs to an optimiser.
pub(super) fn is_optimiser(part: &str) -> bool {
    words(part).iter().any(|word| word == "opt" || word.starts_with("optim"))
}

/// The words of a name, in lower case.
fn words(part: &str) -> Vec<String> {
    // A capital after a small letter begins a word.
    let mut spaced = String::new();
    let mut small = false;
    for c in part.chars() {
        if c.is_uppercase() && small {
            spaced.push(' ');
        }
        small = c.is_lowercase();
        spaced.extend(c.to_lowercase());
    }
    spaced.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
}

/// A name for messages.
fn shown(names: &[String]) -> impl Fn(usize) -> String {
    |at| if names[at].is_empty() { UNNAMED.to_owned() } else { names[at].clone() }
}

/// Names for messages.
fn list(names: &[String]) -> String {
    let mut listed: Vec<String> = (0..names.len()).take(LISTED).map(shown(names)).collect();
    if names.len() > LISTED {
        listed.push("…".to_owned());
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn chosen<'a>(all: &[&'a str], asked: Option<&str>) -> Result<(&'a str, Option<String>)> {
        let Choice { at, note } = choose(&names(all), &[], asked)?;
        Ok((all[at], note))
    }

    #[test]
    fn averages_are_known_by_their_names() {
        for name in [
            "ema",
            "model_ema",
            "ema_model",
            "ema_state_dict",
            "state_dict_ema",
            "EMA",
            "emaModel",
            "modelEma",
            "ema_0.9999",
            "ema1",
            "netEMA",
            "averaged_model",
            "model-ema",
            "params_ema",
            "EMA{'decay': 0.999}",
        ] {
            assert!(is_average(name), "{name}");
        }
        for name in ["model", "net", "schema", "cinema_model", "state_dict", "emanation", ""] {
            assert!(!is_average(name), "{name}");
        }
        for name in ["optimizer", "optimizer_state", "opt", "optimizer_states", "g_optim", "optG"] {
            assert!(is_optimiser(name), "{name}");
        }
        assert!(!is_optimiser("options") && !is_optimiser("model"));
    }

    #[test]
    fn averages_are_taken_and_said() {
        for ema in ["model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "ema"] {
            let (found, note) = chosen(&["model", ema], None).unwrap();
            assert_eq!(found, ema);
            let note = note.unwrap();
            assert!(note.contains(ema) && note.contains("not model"), "{note}");
            assert_eq!(chosen(&["model", ema], Some("model")).unwrap(), ("model", None));
        }
        let [online, ema] = ["ema.online_model", "ema.ema_model"];
        assert_eq!(chosen(&["model", online, ema], None).unwrap().0, ema);
        assert_eq!(chosen(&["model", online, ema], Some("ema")).unwrap().0, ema);
        assert_eq!(chosen(&["model", online, ema], Some("online_model")).unwrap().0, online);
        assert_eq!(chosen(&["model"], None).unwrap(), ("model", None));
        assert_eq!(chosen(&[""], None).unwrap(), ("", None));
    }

    #[test]
    fn a_choice_is_asked_for() {
        let error = |all: &[&str], unread: &[&str], asked| {
            choose(&names(all), &names(unread), asked).unwrap_err().to_string()
        };
        let found = error(&["net_a", "net_b"], &[], None);
        assert!(
            found.contains("2 networks") && found.contains("--entry, of net_a, net_b"),
            "{found}"
        );
        let found = error(&["ema_0.999", "ema_0.9999", "model"], &[], None);
        assert!(found.contains("--entry, of ema_0.999, ema_0.9999"), "{found}");
        let found = error(&["model", "ema"], &[], Some("mod"));
        assert!(found.contains("--entry mod") && found.contains("model, ema"), "{found}");
        let found = error(&["model"], &["ema.shadow_params"], None);
        assert!(found.contains("ema.shadow_params") && found.contains("--entry: model"), "{found}");
        assert!(choose(&names(&["model"]), &names(&["ema"]), Some("model")).is_ok());
    }
}
