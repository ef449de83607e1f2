//! How is a comment written? One form for each, so that printing and reading again changes nothing.
//!
//! A comment belongs to the member, caveat or definition that it stands above, inside, or behind on the same line.
//! What stands above `use`, `import`, partials and splices, or after everything, documents nothing and is dropped.

/// `// text`, `/* text */`, or a block of lines that start with ` * `; `source` holds its own delimiters.
pub(crate) fn canonical(source: &str) -> String {
    match source.strip_prefix("//") {
        // `///` is a habit of other languages; a space would break it.
        Some(text) if text.starts_with('/') => format!("//{}", text.trim_end()),
        Some(text) => format!("// {}", text.trim()).trim_end().to_owned(),
        None => block(source),
    }
}

/// Prints a comment with every line behind `indent`.
pub(crate) fn print(comment: &str, indent: &str, out: &mut String) {
    for line in comment.split('\n') {
        out.push_str(indent);
        out.push_str(line);
        out.push('\n');
    }
}

fn block(source: &str) -> String {
    let inside = source.strip_prefix("/*").unwrap_or(source);
    let inside = inside.strip_suffix("*/").unwrap_or(inside);
    let (open, inside) = match inside.strip_prefix('*') {
        Some(rest) => ("/**", rest),
        None => ("/*", inside),
    };
    let mut lines: Vec<&str> = Vec::new();
    for (number, line) in inside.split('\n').enumerate() {
        let line = line.trim();
        // The stars in front of lines are decoration; printing puts them back.
        lines.push(if number == 0 { line } else { line.strip_prefix('*').unwrap_or(line).trim() });
    }
    let is_one_line = lines.len() == 1;
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let last = lines.iter().rposition(|line| !line.is_empty()).map_or(first, |last| last + 1);
    let lines = &lines[first..last];
    match lines {
        [] => format!("{open} */"),
        [line] if is_one_line => format!("{open} {line} */"),
        lines => {
            let mut out = open.to_owned();
            for line in lines {
                out.push_str("\n * ");
                out.push_str(line);
                out.truncate(out.trim_end().len());
            }
            out.push_str("\n */");
            out
        }
    }
}
