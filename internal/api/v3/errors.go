package v3

import (
	"gantry/internal/platform/fault"
)

// errServiceUsersOnly refuses other principals where the contract can only describe a service user.
var errServiceUsersOnly = fault.New(fault.Forbidden, "this path describes service users; ask /v3/self")
