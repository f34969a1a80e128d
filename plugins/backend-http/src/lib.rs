//! Backend adapter for HTTP apps that expose one JSON endpoint
