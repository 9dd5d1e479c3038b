package audit

// Action names a decision (contract/behaviour.md §5.4). Clients must take names they don't know.
type Action string

// The actions that Gantry writes so far, of the contract.
const (
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
)

// The actions of our own: the contract has no name for these decisions.
const (
	CreateWorkerKey  Action = "create_worker_key"
	RevokeWorkerKey  Action = "revoke_worker_key"
	AddRepository    Action = "add_repository"
	RemoveRepository Action = "remove_repository"
	AddAgent         Action = "add_agent"
	UpdateAgent      Action = "update_agent"
	RemoveAgent      Action = "remove_agent"
	CreateOutpost    Action = "create_outpost"
	DeleteOutpost    Action = "delete_outpost"
	DrainHypervisor  Action = "drain_hypervisor"
	ReleaseSecrets   Action = "release_session_secrets"
)
