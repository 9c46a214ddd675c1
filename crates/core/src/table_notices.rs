//! Notices about the table and the run files: which were shown, and which wait for the next request.

use amore_model::Run;

use crate::input::TableNotice;

#[derive(Debug, Default)]
pub(crate) struct TableNotices {
    /// What could not be collected of earlier commands' results.
    left_behind: Vec<String>,
    shown_about_view: bool,
}

impl TableNotices {
    /// Results of an earlier command could not be collected.
    pub(crate) fn left_behind(&mut self, run: Run, problem: &str) {
        self.left_behind.push(format!("run {run}: {problem}"));
    }

    /// Takes what could not be collected of earlier commands' results.
    pub(crate) fn take_left_behind(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left_behind)
    }

    /// Is this to be shown? One about the view is true until further notice, and shown once.
    pub(crate) fn is_news(&mut self, notice: &TableNotice) -> bool {
        !(notice.about_view && std::mem::replace(&mut self.shown_about_view, true))
    }
}

#[cfg(test)]
mod tests {
    use amore_model::Notice;

    use super::*;

    #[test]
    fn the_view_is_mentioned_once_and_other_things_each_time() {
        let mut notices = TableNotices::default();
        let of = |about_view| TableNotice { notice: Notice::note("changed"), about_view };
        let news = [false, true, true, false].map(|about_view| notices.is_news(&of(about_view)));
        assert_eq!(news, [true, true, false, true]);
    }

    #[test]
    fn what_was_left_behind_is_said_to_one_request() {
        let mut notices = TableNotices::default();
        notices.left_behind(Run(4), "no space left");
        assert_eq!(notices.take_left_behind(), ["run 4: no space left"]);
        assert!(notices.take_left_behind().is_empty());
    }
}
