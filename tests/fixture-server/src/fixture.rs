//! The server as `rmcp` sees it: one instance for each session of the legacy era and for each
//! request of the modern one; what they share is in [`Shared`].

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams,
    CompleteResult, GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult,
    Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use rmcp::{ErrorData, RoleServer, ServerHandler};

use crate::ask::{Brought, Reached, Seal, converse};
use crate::watchers::Watchers;
use crate::{prompts, resources, tools};

/// How long clients may keep what they were given. Short: lists change when a tool says so.
const TTL_MS: u64 = 1_000;

/// What all sessions and requests have in common.
pub(crate) struct Shared {
    pub(crate) seal: Seal,
    pub(crate) tasks: TaskManager,
    pub(crate) watchers: Watchers,
}

impl Shared {
    /// Of a server that has just started.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            seal: Seal::new()?,
            tasks: TaskManager::new(),
            watchers: Watchers::default(),
        })
    }
}

/// One session, or one request of the modern era.
pub(crate) struct Fixture {
    pub(crate) shared: Arc<Shared>,
    /// What `logging/setLevel` said; the modern era says it with each request.
    level: Mutex<Option<LoggingLevel>>,
    /// What the watchers call this session.
    session: OnceLock<u64>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(session) = self.session.get() {
            self.shared.watchers.leave(*session);
        }
    }
}

impl Fixture {
    /// For a new session or request.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            level: Mutex::new(None),
            session: OnceLock::new(),
        }
    }

    /// From which severity on log messages are wanted, if they are.
    pub(crate) fn log_level(&self, cx: &RequestContext<RoleServer>) -> Option<LoggingLevel> {
        let of_session = *self.level.lock().unwrap_or_else(PoisonError::into_inner);
        cx.meta.log_level().or(of_session)
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_logging()
            .enable_completions()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(
                "cortex-fixture-server",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions("Has what the MCP conformance suite calls, and no use besides.")
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        cx.peer.set_peer_info(request.clone());
        self.session
            .get_or_init(|| self.shared.watchers.join(cx.peer.clone()));
        self.negotiate_initialize(&request)
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.level);
        Ok(())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(name).map(tools::Entry::definition)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _cx: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = tools::list(self.shared.watchers.has_extra_tool());
        Ok(ListToolsResult::with_all_items(tools)
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tools::call(self, request, &cx).await
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _cx: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = prompts::list(self.shared.watchers.has_extra_prompt());
        Ok(ListPromptsResult::with_all_items(prompts)
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        cx: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let brought = Brought {
            purpose: format!("prompts/get {}", request.name),
            answers: request.input_responses,
            state: request.request_state,
        };
        let run = |answers: &_| prompts::get(&request.name, &arguments, answers);
        Ok(
            match converse(&cx, &self.shared.seal, brought, run).await? {
                Reached::Done(result) => result.into(),
                Reached::InputRequired(result) => result.into(),
            },
        )
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _cx: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::list())
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _cx: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(
            ListResourceTemplatesResult::with_all_items(resources::templates())
                .with_ttl_ms(TTL_MS)
                .with_cache_scope(CacheScope::Public),
        )
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _cx: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let read = resources::read(&request.uri, self.shared.watchers.revision())?;
        Ok(read
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Public)
            .into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _cx: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        prompts::complete(&request)
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.shared.watchers.listen(context).await;
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if let Some(session) = self.session.get() {
            self.shared.watchers.subscribe(*session, request.uri);
        }
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if let Some(session) = self.session.get() {
            self.shared.watchers.unsubscribe(*session, &request.uri);
        }
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _cx: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let task = self.shared.tasks.get_task(&request.task_id)?;
        Ok(GetTaskResult::new(task))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let tasks = &self.shared.tasks;
        tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _cx: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.tasks.cancel_task(&request.task_id)
    }
}
