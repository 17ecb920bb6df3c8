//! PANDA's options, as PANDA spells them: `-panda 'NAME:KEY=VALUE,KEY=VALUE;NAME'` and
//! `-panda-arg NAME:KEY=VALUE`.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::discover;
use crate::plugin_list::Request;

/// Why such an option cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PandaOptionError {
    /// Nothing between two semicolons, or no name.
    #[error("the plugin list `{0}` of -panda has an empty item; write 'NAME:KEY=VALUE,…;NAME…'")]
    Empty(String),
    /// No `NAME:KEY=VALUE`.
    #[error("`{0}` of -panda-arg is not NAME:KEY=VALUE")]
    NotAnArgument(String),
    /// An argument for a plugin that is not loaded.
    #[error("-panda-arg `{argument}`: the plugin `{plugin}` is not loaded; add -panda {plugin}")]
    NoPlugin {
        /// The whole argument.
        argument: String,
        /// The plugin it names.
        plugin: String,
    },
}

/// Turns `-panda` and `-panda-arg` into the spelling clap knows. Options end at `--` or at the guest
/// program: nothing from there on is touched.
pub fn respell(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let takes_value = |option: &str| {
        let known = |a: &&clap::Arg| a.get_long() == Some(option);
        command.get_arguments().find(known).is_some_and(|a| a.get_action().takes_values())
    };
    let mut out = Vec::new();
    let mut args = args.into_iter();
    // The name of the host.
    out.extend(args.next());
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        let has_value = match text.strip_prefix("--") {
            None if text == "-panda" || text == "-panda-arg" => {
                out.push(format!("-{text}").into());
                out.extend(args.next());
                continue;
            }
            // `--` itself ends the options.
            Some("") => false,
            // `--option=value` names no option.
            Some(option) => takes_value(option),
            None => false,
        };
        let is_option = text.len() > 1 && text.starts_with('-') && text != "--";
        out.push(arg);
        if has_value {
            out.extend(args.next());
        } else if !is_option {
            break;
        }
    }
    out.extend(args);
    out
}

/// The plugins of all `-panda` options, after `others`, with the arguments of all `-panda-arg` options.
/// A key without a value has an empty one.
pub fn requests(
    mut others: Vec<Request>,
    lists: &[String],
    arguments: &[String],
) -> Result<Vec<Request>, PandaOptionError> {
    for list in lists {
        for item in list.split(';') {
            let (name, args) = item.split_once(':').unwrap_or((item, ""));
            if name.trim().is_empty() {
                return Err(PandaOptionError::Empty(list.clone()));
            }
            let args = args.split(',').filter(|a| !a.is_empty()).map(key_value).collect();
            others.push(Request { name: name.trim().to_owned(), args });
        }
    }
    for argument in arguments {
        let parts = argument.split_once(':').filter(|(n, a)| !n.is_empty() && !a.is_empty());
        let (plugin, arg) =
            parts.ok_or_else(|| PandaOptionError::NotAnArgument(argument.clone()))?;
        let named =
            |r: &&mut Request| discover::table_name(&r.name) == discover::table_name(plugin);
        match others.iter_mut().find(named) {
            Some(request) => request.args.push(key_value(arg)),
            None => {
                let (argument, plugin) = (argument.clone(), plugin.to_owned());
                return Err(PandaOptionError::NoPlugin { argument, plugin });
            }
        }
    }
    Ok(others)
}

fn key_value(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respelled(line: &str) -> String {
        let out = respell(line.split(' ').map(OsString::from));
        out.join(" ".as_ref()).to_string_lossy().into_owned()
    }

    #[test]
    fn options_of_the_host_are_respelled_and_the_guests_are_not() {
        for (given, expected) in [
            ("host -panda a;b -panda-arg a:k=v ls", "host --panda a;b --panda-arg a:k=v ls"),
            ("host --panda a -- ls", "host --panda a -- ls"),
            ("host -panda a -- ls -panda b", "host --panda a -- ls -panda b"),
            ("host -panda a ls -panda b", "host --panda a ls -panda b"),
            ("host -- -panda b", "host -- -panda b"),
            ("host -v --plugins x -panda a ls", "host -v --plugins x --panda a ls"),
            ("host --plugins=x -panda a ls", "host --plugins=x --panda a ls"),
            ("host --plugins -panda ls", "host --plugins -panda ls"),
            ("host --stats -panda a ls", "host --stats --panda a ls"),
            ("host plugin list -panda a", "host plugin list -panda a"),
            ("host -panda -panda ls", "host --panda -panda ls"),
            ("host -panda", "host --panda"),
            ("host - -panda a", "host - -panda a"),
        ] {
            assert_eq!(respelled(given), expected);
        }
    }

    fn shown(lists: &[&str], arguments: &[&str]) -> Result<Vec<String>, String> {
        let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let first = Request { name: "./panda_x.so".into(), args: vec![("a".into(), "1".into())] };
        let all = requests(vec![first], &own(lists), &own(arguments)).map_err(|e| e.to_string())?;
        Ok(all.iter().map(|r| format!("{}{:?}", r.name, r.args)).collect())
    }

    #[test]
    fn lists_and_arguments_are_those_of_panda() {
        assert_eq!(
            shown(&["y:k=v=w,flag;z", "w:a=b:c"], &["x:b=2", "z:q=3"]).unwrap(),
            [
                r#"./panda_x.so[("a", "1"), ("b", "2")]"#,
                r#"y[("k", "v=w"), ("flag", "")]"#,
                r#"z[("q", "3")]"#,
                r#"w[("a", "b:c")]"#,
            ]
        );
        for (lists, arguments, error) in [
            (&["y;;z"][..], &[][..], "the plugin list `y;;z` of -panda has an empty item"),
            (&[""], &[], "the plugin list `` of -panda has an empty item"),
            (&[":k=v"], &[], "the plugin list `:k=v` of -panda has an empty item"),
            (&["y"], &["y"], "`y` of -panda-arg is not NAME:KEY=VALUE"),
            (&["y"], &["q:k=v"], "the plugin `q` is not loaded; add -panda q"),
        ] {
            let text = shown(lists, arguments).unwrap_err();
            assert!(text.contains(error), "{text}");
        }
    }
}
