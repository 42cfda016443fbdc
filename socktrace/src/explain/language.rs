//! Languages of the explanations, and the fixed words around the texts.

use clap::ValueEnum;

/// A language that explanations are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// English
    En,
    /// Simplified Chinese
    Zh,
}

impl Language {
    /// Language of the environment: taken from the first variable that is set and not empty, in the
    /// order that POSIX defines for messages.
    pub(crate) fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .filter_map(variable)
            .find(|value| !value.is_empty())
            .unwrap_or_default();
        if locale.starts_with("zh") { Self::Zh } else { Self::En }
    }

    /// Fixed words of this language.
    pub(super) const fn words(self) -> &'static Words {
        match self {
            Self::En => &ENGLISH,
            Self::Zh => &CHINESE,
        }
    }
}

/// Words of a page that are not part of an explanation.
pub(super) struct Words {
    pub(super) number_here: &'static str,
    pub(super) message: &'static str,
    pub(super) errno: &'static str,
    pub(super) any_errno: &'static str,
    pub(super) no_errno: &'static str,
    pub(super) causes: &'static str,
    pub(super) no_causes: &'static str,
    pub(super) winsock: &'static str,
    pub(super) no_twin: &'static str,
    pub(super) nearest_twins: &'static str,
    pub(super) numbers: &'static str,
    pub(super) generic: &'static str,
    pub(super) on_windows: &'static str,
    pub(super) on_linux: &'static str,
    /// Headings of the groups of causes, in group order.
    pub(super) groups: [&'static str; 7],
    pub(super) errnos: &'static str,
    pub(super) signals: &'static str,
    pub(super) events: &'static str,
    pub(super) how_to_ask: &'static str,
    pub(super) unknown: &'static str,
    pub(super) did_you_mean: &'static str,
    pub(super) see_list: &'static str,
    /// Separates list items, and names from their explanations.
    pub(super) comma: &'static str,
    pub(super) colon: &'static str,
}

const ENGLISH: Words = Words {
    number_here: "Number here",
    message: "Message",
    errno: "Errno",
    any_errno: "any",
    no_errno: "none",
    causes: "Causes",
    no_causes: "none of the causes that socktrace names",
    winsock: "Winsock",
    no_twin: "no twin",
    nearest_twins: "no direct counterpart; nearest",
    numbers: "Numbers by architecture",
    generic: "generic",
    on_windows: "On Windows",
    on_linux: "On Linux",
    groups: [
        "Causes: connecting",
        "Causes: accepting",
        "Causes: resets and closed connections",
        "Causes: writing to a closed connection",
        "Causes: timeouts and unreachable peers",
        "Causes: datagrams",
        "Causes: refused and interrupted calls",
    ],
    errnos: "Errnos",
    signals: "Signals",
    events: "Events without a failure",
    how_to_ask: "socktrace explain TOPIC explains one of these; errnos and Winsock errors also by number.",
    unknown: "there is no topic ",
    did_you_mean: "did you mean ",
    see_list: "`socktrace explain` lists all topics",
    comma: ", ",
    colon: ": ",
};

const CHINESE: Words = Words {
    number_here: "本机编号",
    message: "系统消息",
    errno: "errno",
    any_errno: "不定",
    no_errno: "无",
    causes: "可能的原因",
    no_causes: "socktrace 列出的原因都不会产生它",
    winsock: "Winsock",
    no_twin: "没有对应的错误码",
    nearest_twins: "没有直接对应的错误码，最接近的是",
    numbers: "各体系结构的编号",
    generic: "通用",
    on_windows: "在 Windows 上",
    on_linux: "在 Linux 上",
    groups: [
        "原因：建立连接",
        "原因：接受连接",
        "原因：连接被重置或被关闭",
        "原因：向已关闭的连接写数据",
        "原因：超时与不可达",
        "原因：数据报",
        "原因：调用被拒绝或被打断",
    ],
    errnos: "errno",
    signals: "信号",
    events: "其他事件",
    how_to_ask: "用 socktrace explain TOPIC 查看其中一项；errno 和 Winsock 错误也可以用编号查。",
    unknown: "没有这个主题：",
    did_you_mean: "是不是想查 ",
    see_list: "运行 `socktrace explain` 可列出全部主题",
    comma: "、",
    colon: "：",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Language {
        Language::of_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_first_variable_that_says_something_decides() {
        assert_eq!(of(&[]), Language::En);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8")]), Language::Zh);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8"), ("LC_MESSAGES", "en_US.UTF-8")]), Language::En);
        assert_eq!(of(&[("LANG", "C"), ("LC_MESSAGES", "zh_TW")]), Language::Zh);
        assert_eq!(of(&[("LC_MESSAGES", "zh_CN"), ("LC_ALL", "C.UTF-8")]), Language::En);
        assert_eq!(of(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "zh")]), Language::Zh);
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        assert_eq!(of(&[("LC_ALL", ""), ("LANG", "zh_CN.UTF-8")]), Language::Zh);
    }
}
