package audit

// Action names a decision (contract/behaviour.md §5.4). Clients must take names they don't know.
type Action string

// The actions that Gantry writes so far, of the contract.
const (
	Login                   Action = "login"
	CreateOrg               Action = "create_org"
	UpdateOrg               Action = "update_org"
	DeleteOrg               Action = "delete_org"
	CreateServiceUser       Action = "create_service_user"
	DeleteServiceUser       Action = "delete_service_user"
	AssignServiceUserRole   Action = "assign_service_user_role"
	RemoveServiceUserRole   Action = "remove_service_user_role"
	CreateServiceUserAPIKey Action = "create_service_user_api_key"
	RevokeServiceUserAPIKey Action = "revoke_service_user_api_key"
	RotateServiceUserAPIKey Action = "rotate_service_user_api_key"
	CreateSession           Action = "create_session"
	SendMessage             Action = "send_message"
	SleepSession            Action = "sleep_session"
	TerminateSession        Action = "terminate_session"
	PermissionResponse      Action = "permission_response"
	ClaimOutpostSession     Action = "claim_outpost_session"
	CreateGitPermission     Action = "create_git_permission"
	UpdateGitPermission     Action = "update_git_permission"
	DeleteGitPermission     Action = "delete_git_permission"

	AddEnterpriseMember   Action = "add_enterprise_member"
	AddMember             Action = "add_member"
	DeleteMember          Action = "delete_member"
	AssignRoles           Action = "assign_roles"
	AddGroupMembership    Action = "add_group_membership"
	UpdateGroupMembership Action = "update_group_membership"
	DeleteGroupMembership Action = "delete_group_membership"
	CreateServiceAPIKey   Action = "create_service_api_key"
	CreateUserAPIKey      Action = "create_user_api_key"
	RevokeAPIKey          Action = "revoke_enterprise_api_key"
	RevokeAllAPIKeys      Action = "revoke_all_enterprise_api_keys"
	CreateSecret          Action = "create_secret"
	DeleteSecret          Action = "delete_secret"

	CreateRole      Action = "create_role"
	UpdateRole      Action = "update_role"
	DeleteRole      Action = "delete_role"
	CreateKnowledge Action = "create_knowledge"
	EditKnowledge   Action = "edit_knowledge"
	DeleteKnowledge Action = "delete_knowledge"
	CreateFolder    Action = "create_folder"
	UpdateFolder    Action = "update_folder"
	DeleteFolder    Action = "delete_folder"
	CreatePlaybook  Action = "create_playbook"
	UpdatePlaybook  Action = "update_playbook"
	DeletePlaybook  Action = "delete_playbook"

	UpdateOrgSettings         Action = "update_org_settings"
	UpdateEnterpriseSettings  Action = "update_enterprise_settings"
	SetOrgGroupLimits         Action = "set_org_group_limits"
	AcknowledgeSessionHardCap Action = "acknowledge_session_hard_cap"
)

// The actions of our own: the contract has no name for these decisions.
const (
	CreateWorkerKey  Action = "create_worker_key"
	RevokeWorkerKey  Action = "revoke_worker_key"
	AddRepository    Action = "add_repository"
	EnableIndexing   Action = "enable_indexing"
	RemoveRepository Action = "remove_repository"
	// A connection of a provider that the contract names has the contract's action, such as create_github_integration.
	CreateGitConnection Action = "create_git_connection"
	UpdateGitConnection Action = "update_git_connection"
	DeleteGitConnection Action = "delete_git_connection"
	AddAgent            Action = "add_agent"
	UpdateAgent         Action = "update_agent"
	RemoveAgent         Action = "remove_agent"
	CreateOutpost       Action = "create_outpost"
	DeleteOutpost       Action = "delete_outpost"
	DrainHypervisor     Action = "drain_hypervisor"
	ReleaseSecrets      Action = "release_session_secrets"
	GenerateInsights    Action = "generate_session_insights"
	ArchiveSession      Action = "archive_session"
	UnarchiveSession    Action = "unarchive_session"
	TagSession          Action = "update_session_tags"

	RegisterIdpGroup   Action = "register_idp_group"
	UnregisterIdpGroup Action = "unregister_idp_group"
	SyncIdpGroups      Action = "sync_idp_groups"
	CreateSchedule     Action = "create_schedule"
	UpdateSchedule     Action = "update_schedule"
	DeleteSchedule     Action = "delete_schedule"
	RotateKeeper       Action = "rotate_keeper"
	// PurgeOrg is the end of a deleted organization's data.
	PurgeOrg Action = "purge_org"
)
