//! Tables and facts as HTML.

use eps_results::Environment;

use crate::chart::escape;
use crate::columns::meaning;
use crate::table::Table;

/// The heading of a column, with what it means on hover.
pub(crate) fn heading(text: &str) -> String {
    let title = meaning(text).map_or(String::new(), |said| format!(" title=\"{}\"", escape(said)));
    format!("<th scope=\"col\"{title}>{}</th>", escape(text))
}

/// A part of a page that folds away; an address with its name opens it.
pub(crate) fn fold(name: &str, summary: &str, body: &str) -> String {
    format!(
        "<details><summary>{summary}</summary><div class=\"part\" id=\"{name}\">{body}</div>\
         </details>\n"
    )
}

/// A table as HTML.
pub(crate) fn table(table: &Table) -> String {
    let headings: String = table.headings.iter().map(|text| heading(text)).collect();
    let row = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate().map(|(column, text)| {
            let text = escape(text);
            match column {
                0 => format!("<th scope=\"row\">{text}</th>"),
                _ if text.starts_with("too few") => format!("<td class=\"none\">{text}</td>"),
                _ => format!("<td>{text}</td>"),
            }
        });
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!("<table class=\"data\"><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>")
}

/// Versions, revision, device and command as facts.
pub(crate) fn environment(environment: &Environment) -> Vec<(String, String)> {
    let Environment { eps, libtorch, revision, device, threads, command } = environment;
    let threads = threads.to_string();
    [
        ("command", command.as_str()),
        ("device", device),
        ("eps", eps),
        ("libtorch", libtorch),
        ("revision", revision.as_deref().unwrap_or("unknown")),
        ("threads", &threads),
    ]
    .map(|(name, value)| (name.to_owned(), escape(value)))
    .to_vec()
}

/// Facts, each a name and HTML, as a table.
pub(crate) fn facts_table(facts: &[(String, String)]) -> String {
    let row = |(name, value): &(String, String)| {
        format!("<tr><th scope=\"row\">{name}</th><td><code>{value}</code></td></tr>")
    };
    format!(
        "<figure><div class=\"scroll\"><table class=\"data facts\"><tbody>{}</tbody></table></div>\
         </figure>",
        facts.iter().map(row).collect::<String>()
    )
}
