//! The document of the interface (OpenAPI): it has the routes that there are, and no others.

use super::site::Site;
use crate::helper::block_on;
use serde_json::Value;
use std::collections::BTreeSet;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// All references in a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_has_all_routes_and_no_others() {
    block_on(async {
        let site = Site::new("").await;
        let document = site.json("GET /openapi.json", Value::Null).await;
        assert_eq!(document["openapi"], "3.1.0");
        let mut names = BTreeSet::new();
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.len() > 30, "{}", paths.len());
        for (path, item) in paths {
            let address = path
                .split('/')
                .map(|part| if part.starts_with('{') { "1" } else { part })
                .collect::<Vec<_>>();
            let address = address.join("/");
            for method in METHODS {
                let what = format!("{} {address}", method.to_uppercase());
                // Without a token, which comes before all but whether there is such a route.
                let reply = site.send(&what, "Host: localhost\r\n", b"").await;
                let Some(operation) = item.get(method) else {
                    assert_eq!(reply.status, 405, "{what} is served, and not in the document");
                    continue;
                };
                let expected = if operation.get("security").is_some() { 401 } else { 200 };
                assert_eq!(reply.status, expected, "{what}");
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{name} is there twice");
                assert!(!operation["summary"].as_str().unwrap().is_empty(), "{what}");
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|status| status.starts_with('2')), "{what}");
                assert!(expected == 200 || responses.contains_key("401"), "{what}");
                let parts = path.matches('{').count();
                let parameters = operation["parameters"].as_array().unwrap();
                let at = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
                assert_eq!(at, parts, "{what}");
            }
        }
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').expect("all is in one document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        // What was read off types and what stands beside them.
        let job = &document["components"]["schemas"]["JobView"];
        assert_eq!(job["properties"]["id"]["type"], "integer", "{job}");
        let claim = &document["paths"]["/api/v1/claim"]["post"];
        assert_eq!(claim["requestBody"]["required"], true);
        assert_eq!(document["components"]["schemas"]["Wanted"]["additionalProperties"], false);
        site.daemon.stop().await;
    });
}
