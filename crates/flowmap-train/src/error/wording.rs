//! Parts of the messages of errors.

/// Words for several bad steps in a row; nothing for a single one.
pub(super) fn in_a_row(n_bad: u32) -> String {
    if n_bad > 1 { format!(", and {n_bad} steps in a row were bad") } else { String::new() }
}

/// The first names, each in quotes, and how many more.
pub(super) fn shown(names: &[String]) -> String {
    const N_SHOWN: usize = 20;
    if names.is_empty() {
        return "no names, since the classes of this model have none".into();
    }
    let shown: Vec<String> = names.iter().take(N_SHOWN).map(|name| format!("`{name}`")).collect();
    let rest = names.len() - shown.len();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    shown.join(", ") + &more
}

/// The nearest name as a question, or nothing.
pub(super) fn hint(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}
