package audit

// Action names a decision (contract/behaviour.md §5.4). Clients must take names they don't know.
type Action string

// The actions written so far.
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
