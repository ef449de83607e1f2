//! How far is it? Bars on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Style;

/// A bar of known length.
pub(crate) fn bar(length: u64, style: Style) -> ProgressBar {
    if !style.watches() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let template = ProgressStyle::with_template("{msg:10} [{bar:40}] {pos}/{len} {eta}");
    bar.set_style(template.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}

/// A count of unknown end.
pub(crate) fn counter(what: &'static str, style: Style) -> ProgressBar {
    if !style.watches() {
        return ProgressBar::hidden();
    }
    let counter = ProgressBar::no_length();
    let template = ProgressStyle::with_template("{msg:10} {human_pos} {per_sec} {elapsed}");
    counter.set_style(template.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    counter.set_message(what);
    counter
}
