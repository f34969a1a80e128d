//! What wit-bindgen makes of `wit/v0.2`. Nothing here is for plugin authors.
//!
//! One world that imports and exports everything gives one set of Rust types. Which part of it a
//! component really exports is decided by its export macro.

wit_bindgen::generate!({
    path: "../wit/v0.2",
    inline: "
        package cortex:sdk;

        world every-kind {
            import cortex:gateway/log@0.2.0;
            import cortex:gateway/settings@0.2.0;
            import cortex:gateway/http@0.2.0;
            import cortex:gateway/progress@0.2.0;
            import cortex:gateway/client-log@0.2.0;
            import cortex:gateway/client@0.2.0;
            import cortex:gateway/memory@0.2.0;
            import cortex:gateway/kv@0.2.0;
            import cortex:gateway/postgres@0.2.0;
            import cortex:gateway/metrics@0.2.0;

            export cortex:gateway/plugin@0.2.0;
            export cortex:gateway/backend@0.2.0;
            export cortex:gateway/policy@0.2.0;
            export cortex:gateway/exporter@0.2.0;
            export cortex:gateway/keeping@0.2.0;
        }
    ",
    generate_all,
    pub_export_macro: true,
    additional_derives: [PartialEq, Eq],
});
