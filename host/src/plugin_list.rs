//! The list of `--plugins`: `syscalls:output=calls.txt,names=true,textprinter`.

/// A plugin to load with the arguments the command line gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Name, or path of the library.
    pub name: String,
    /// Arguments: (key, value as text), in order.
    pub args: Vec<(String, String)>,
}

/// Why a list cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// Nothing between two commas.
    #[error("the plugin list `{0}` has an empty item; write NAME[:KEY=VALUE],…")]
    Empty(String),
    /// An argument before any plugin.
    #[error("`{0}` is an argument, but no plugin stands before it; write NAME:{0}")]
    Orphan(String),
    /// Something after the colon that is no argument.
    #[error("`{0}` after `{1}:` is not KEY=VALUE")]
    NotAnArgument(String, String),
}

/// Parses a list. An empty list is no plugins.
pub fn parse(list: &str) -> Result<Vec<Request>, ListError> {
    let mut requests: Vec<Request> = Vec::new();
    if list.trim().is_empty() {
        return Ok(requests);
    }
    for item in list.split(',') {
        let item = item.trim();
        if item.is_empty() {
            return Err(ListError::Empty(list.to_owned()));
        }
        let colon = item.find(':');
        let equals = item.find('=');
        match (colon, equals) {
            (None, Some(e)) => push_arg(&mut requests, item, e)?,
            (Some(c), Some(e)) if e < c => push_arg(&mut requests, item, e)?,
            (Some(c), _) => {
                let (name, rest) = (&item[..c], &item[c + 1..]);
                if name.is_empty() {
                    return Err(ListError::Empty(list.to_owned()));
                }
                requests.push(Request { name: name.to_owned(), args: Vec::new() });
                match rest.find('=') {
                    Some(e) => push_arg(&mut requests, rest, e)?,
                    None if rest.is_empty() => {}
                    None => {
                        return Err(ListError::NotAnArgument(rest.to_owned(), name.to_owned()));
                    }
                }
            }
            (None, None) => requests.push(Request { name: item.to_owned(), args: Vec::new() }),
        }
    }
    Ok(requests)
}

fn push_arg(requests: &mut [Request], item: &str, equals: usize) -> Result<(), ListError> {
    match requests.last_mut() {
        Some(r) => {
            r.args.push((item[..equals].trim().to_owned(), item[equals + 1..].to_owned()));
            Ok(())
        }
        None => Err(ListError::Orphan(item.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        parse(list)
            .unwrap()
            .iter()
            .map(|r| {
                let args: Vec<_> = r.args.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("{}[{}]", r.name, args.join(";"))
            })
            .collect()
    }

    #[test]
    fn arguments_belong_to_the_plugin_before_them() {
        assert_eq!(
            names("syscalls:output=calls.txt,names=true,textprinter"),
            ["syscalls[output=calls.txt;names=true]", "textprinter[]"]
        );
        assert_eq!(names("./panda_x.so:a=b:c=d"), ["./panda_x.so[a=b:c=d]"]);
        assert_eq!(names("a,k=x:y"), ["a[k=x:y]"]);
        assert_eq!(names(" a , b "), ["a[]", "b[]"]);
        assert!(names("").is_empty());
    }

    #[test]
    fn malformed_lists_say_what_is_wrong() {
        assert_eq!(parse("a,,b"), Err(ListError::Empty("a,,b".into())));
        assert_eq!(parse("k=v"), Err(ListError::Orphan("k=v".into())));
        assert_eq!(parse("a:b"), Err(ListError::NotAnArgument("b".into(), "a".into())));
    }
}
