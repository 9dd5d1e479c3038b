package audit

import (
	"maps"
	"slices"
)

// contractActions are the names of contract/behaviour.md §5.4 and of the contract's enum, by group. A filter may name any of them,
// also those that Gantry doesn't write yet: an answer without entries is right then.
var contractActions = []Action{
	// Access.
	"login", "create_join_request", "approve_join_request", "reject_join_request", "automatic_join_event",
	"add_enterprise_member", "add_member", "delete_member", "assign_roles", "create_role", "update_role", "delete_role",
	"add_group_membership", "update_group_membership", "delete_group_membership",
	// Keys.
	"create_service_user", "delete_service_user", "assign_service_user_role", "remove_service_user_role",
	"create_service_user_api_key", "revoke_service_user_api_key", "rotate_service_user_api_key", "create_pat", "revoke_pat",
	"rotate_pat", "create_service_api_key", "create_org_api_key", "create_user_api_key", "view_org_api_key",
	"view_user_api_key", "revoke_enterprise_api_key", "revoke_all_enterprise_api_keys",
	// Organizations and settings.
	"create_org", "update_org", "delete_org", "update_org_settings", "update_enterprise_settings",
	"update_enterprise_hypervisor_settings", "set_org_group_limits", "acknowledge_session_hard_cap",
	// Sessions.
	"create_session", "send_message", "sleep_session", "terminate_session", "approve_deploy", "approve_test_app",
	"permission_response", "search_query",
	// Resources.
	"create_knowledge", "edit_knowledge", "delete_knowledge", "create_folder", "update_folder", "delete_folder",
	"create_playbook", "update_playbook", "delete_playbook", "create_secret", "update_secret", "delete_secret",
	"enable_persona", "disable_persona", "delete_persona", "create_automation", "update_automation", "delete_automation",
	"trigger_automation", "ai_guardrail_violation", "update_ai_guardrail",
	// Git.
	"create_github_integration", "delete_github_integration", "refresh_github_integration", "github_integration_deleted",
	"create_gitlab_integration", "update_gitlab_integration", "reconnect_gitlab_integration", "delete_gitlab_integration",
	"create_azure_devops_integration", "reconnect_azure_devops_integration", "delete_azure_devops_integration",
	"create_bitbucket_integration", "delete_bitbucket_integration", "create_git_permission", "update_git_permission",
	"delete_git_permission", "remove_repo_from_devin",
	// Environment.
	"start_repo_setup", "finish_repo_setup", "delete_repo_setup", "create_snapshot_script", "schedule_snapshot_script",
	"execute_snapshot_script", "create_maintenance_task", "update_maintenance_task", "delete_maintenance_task",
	"update_repo_setup_steering_knowledge", "delete_repo_setup_steering_knowledge", "create_blueprint", "delete_blueprint",
	"create_blueprint_version", "rollback_blueprint_version", "reorder_blueprints", "create_enterprise_blueprint",
	"delete_enterprise_blueprint", "create_enterprise_blueprint_version", "rollback_enterprise_blueprint_version",
	"trigger_blueprint_build", "cancel_blueprint_build", "upload_blueprint_file", "delete_blueprint_file", "pin_build",
	"unpin_build", "delete_build", "accept_skill_pr",
	// Tool servers.
	"mcp_server_install", "mcp_server_update", "mcp_server_enable", "mcp_server_disable", "mcp_server_delete",
	"mcp_server_secret_link", "mcp_server_secret_unlink", "mcp_server_oauth_initiate", "mcp_server_oauth_tokens_granted",
	"mcp_server_oauth_tokens_revoked", "create_mcp_validation_session",
	// Newest.
	"approve_seat_request", "claim_outpost_session", "create_audit_log_export", "create_blueprint_pr",
	"create_gitlab_app_config",
}

// ownActions are the names of decisions for which the contract has none.
var ownActions = []Action{
	CreateWorkerKey, RevokeWorkerKey, EnableIndexing, AddRepository, RemoveRepository, AddAgent, UpdateAgent, RemoveAgent, CreateOutpost,
	DeleteOutpost, DrainHypervisor, RegisterIdpGroup, UnregisterIdpGroup, SyncIdpGroups,
	CreateSchedule, UpdateSchedule, DeleteSchedule, RotateKeeper, ReleaseSecrets, GenerateInsights, CreateGitConnection, UpdateGitConnection,
	DeleteGitConnection, ArchiveSession, UnarchiveSession, TagSession, PurgeOrg,
}

var known = func() map[Action]bool {
	m := map[Action]bool{}
	for _, a := range slices.Concat(contractActions, ownActions) {
		m[a] = true
	}
	return m
}()

// Known reports whether the action is one that some release of Gantry or the contract names.
func Known(a Action) bool { return known[a] }

// Actions lists every known action, sorted.
func Actions() []Action { return slices.Sorted(maps.Keys(known)) }
