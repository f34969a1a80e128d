// One tool that passes its arguments on to an app, as the caller, and returns what it answers.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend_adapter.h"

typedef exports_cortex_gateway_backend_call_error_t error_t;
typedef cortex_gateway_http_response_t response_t;

// Strings of the answer are freed by the bindings: they must be copies.
static void set(backend_adapter_string_t *to, const char *text) { backend_adapter_string_dup(to, text); }

static bool failed(error_t *error, const char *code, const char *format, ...) {
    char message[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    memset(error, 0, sizeof *error);
    error->tag = EXPORTS_CORTEX_GATEWAY_BACKEND_CALL_ERROR_FAILED;
    set(&error->val.failed.code, code);
    set(&error->val.failed.message, message);
    return false;
}

static bool unsupported(error_t *error) {
    error->tag = EXPORTS_CORTEX_GATEWAY_BACKEND_CALL_ERROR_UNSUPPORTED;
    return false;
}

// What the app answers, if it is content.
static bool ask(const exports_cortex_gateway_backend_target_t *target, cortex_gateway_http_request_t *request,
                uint8_t credential, response_t *answer, error_t *error) {
    const char path[] = "/relay";
    size_t length = target->base_url.len + sizeof path - 1;
    char *url = malloc(length);
    if (url == NULL) {
        abort();
    }
    memcpy(url, target->base_url.ptr, target->base_url.len);
    memcpy(url + target->base_url.len, path, sizeof path - 1);
    request->url.ptr = (uint8_t *)url;
    request->url.len = length;
    request->credential.tag = credential;

    cortex_gateway_http_http_error_t reason;
    bool sent = cortex_gateway_http_send(request, answer, &reason);
    free(url);
    if (!sent) {
        bool late = reason.tag == CORTEX_GATEWAY_HTTP_HTTP_ERROR_TIMEOUT;
        cortex_gateway_http_http_error_free(&reason);
        return late ? failed(error, "backend_timeout", "the app did not answer in time")
                    : failed(error, "backend_unavailable", "the app cannot be reached");
    }
    if (answer->status >= 200 && answer->status < 300) {
        return true;
    }
    unsigned status = answer->status;
    cortex_gateway_http_response_free(answer);
    switch (status) {
    case 401: return failed(error, "backend_auth", "the app did not accept the token");
    case 403: return failed(error, "backend_acl", "the app refused this call");
    default: return failed(error, "backend_error", "the app answered with status %u", status);
    }
}

void exports_cortex_gateway_plugin_describe(exports_cortex_gateway_plugin_description_t *description) {
    memset(description, 0, sizeof *description);
    set(&description->name, "relay-c");
    set(&description->version, "0.1.0");
    set(&description->summary, "Passes tool calls on to an app that answers JSON");
}

bool exports_cortex_gateway_backend_discover(exports_cortex_gateway_backend_target_t *target,
                                             exports_cortex_gateway_backend_catalog_t *catalog, error_t *error) {
    cortex_gateway_http_request_t request = {0};
    backend_adapter_string_set(&request.method, "GET");
    response_t about;
    if (!ask(target, &request, CORTEX_GATEWAY_HTTP_CREDENTIAL_TECHNICAL, &about, error)) {
        return false;
    }
    exports_cortex_gateway_backend_tool_t *tool = calloc(1, sizeof *tool);
    exports_cortex_gateway_backend_scope_t *scope = calloc(1, sizeof *scope);
    if (tool == NULL || scope == NULL) {
        abort();
    }
    set(&tool->name, "relay");
    set(&tool->input_schema, "{\"type\":\"object\"}");
    set(scope, "mcp:relay:write");
    // The body becomes the description: it changes its owner, and the rest is let go.
    tool->description.ptr = about.body.ptr;
    tool->description.len = about.body.len;
    about.body.len = 0;
    cortex_gateway_http_response_free(&about);
    tool->scopes.ptr = scope;
    tool->scopes.len = 1;
    memset(catalog, 0, sizeof *catalog);
    catalog->tools.ptr = tool;
    catalog->tools.len = 1;
    return true;
}

bool exports_cortex_gateway_backend_call_tool(exports_cortex_gateway_backend_target_t *target,
                                              exports_cortex_gateway_backend_principal_t *caller,
                                              exports_cortex_gateway_backend_tool_call_t *call,
                                              exports_cortex_gateway_backend_tool_outcome_t *outcome,
                                              error_t *error) {
    (void)caller;
    const char name[] = "relay";
    if (call->tool.len != sizeof name - 1 || memcmp(call->tool.ptr, name, sizeof name - 1) != 0) {
        error->tag = EXPORTS_CORTEX_GATEWAY_BACKEND_CALL_ERROR_NOT_FOUND;
        backend_adapter_string_dup_n(&error->val.not_found, (const char *)call->tool.ptr, call->tool.len);
        return false;
    }
    double total = 2;
    backend_adapter_string_t doing;
    backend_adapter_string_set(&doing, "asking the app");
    cortex_gateway_progress_report(1, &total, &doing);

    cortex_gateway_http_header_t type;
    backend_adapter_string_set(&type.name, "content-type");
    backend_adapter_string_set(&type.value, "application/json");
    cortex_gateway_http_request_t request = {0};
    backend_adapter_string_set(&request.method, "POST");
    request.headers.ptr = &type;
    request.headers.len = 1;
    request.body.is_some = true;
    request.body.val.ptr = call->arguments.ptr;
    request.body.val.len = call->arguments.len;
    response_t answer;
    if (!ask(target, &request, CORTEX_GATEWAY_HTTP_CREDENTIAL_CALLER, &answer, error)) {
        return false;
    }
    if (!answer.is_json) {
        cortex_gateway_http_response_free(&answer);
        return failed(error, "backend_error", "the app answered with something that is no JSON");
    }
    memset(outcome, 0, sizeof *outcome);
    outcome->tag = EXPORTS_CORTEX_GATEWAY_BACKEND_TOOL_OUTCOME_COMPLETE;
    exports_cortex_gateway_backend_tool_result_t *result = &outcome->val.complete;
    exports_cortex_gateway_backend_content_t *content = calloc(1, sizeof *content);
    if (content == NULL) {
        abort();
    }
    content->tag = EXPORTS_CORTEX_GATEWAY_BACKEND_CONTENT_TEXT;
    backend_adapter_string_dup_n(&content->val.text, (const char *)answer.body.ptr, answer.body.len);
    result->content.ptr = content;
    result->content.len = 1;
    result->structured_content.is_some = true;
    backend_adapter_string_dup_n(&result->structured_content.val, (const char *)answer.body.ptr, answer.body.len);
    cortex_gateway_http_response_free(&answer);
    return true;
}

// What this adapter does not do.
#define UNSUPPORTED(name, ...)                                                                                   \
    bool exports_cortex_gateway_backend_##name(exports_cortex_gateway_backend_target_t *target, __VA_ARGS__,     \
                                               error_t *error) {                                                 \
        return unsupported(error);                                                                               \
    }
#define PRINCIPAL exports_cortex_gateway_backend_principal_t *caller
#define JSON exports_cortex_gateway_backend_json_t
UNSUPPORTED(get_prompt, PRINCIPAL, exports_cortex_gateway_backend_prompt_call_t *call,
            exports_cortex_gateway_backend_prompt_outcome_t *outcome)
UNSUPPORTED(read_resource, PRINCIPAL, exports_cortex_gateway_backend_resource_read_t *read,
            exports_cortex_gateway_backend_resource_outcome_t *outcome)
UNSUPPORTED(complete, PRINCIPAL, exports_cortex_gateway_backend_completion_t *completion,
            exports_cortex_gateway_backend_completion_result_t *result)
UNSUPPORTED(whoami, PRINCIPAL, JSON *known)
UNSUPPORTED(report_ticket, PRINCIPAL, JSON *ticket, JSON *report)
UNSUPPORTED(list_tickets, PRINCIPAL, JSON *query, JSON *tickets)
UNSUPPORTED(get_snapshot, JSON *snapshot)
