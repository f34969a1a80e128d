//! A backend adapter that misbehaves on request, for tests
