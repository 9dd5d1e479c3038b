package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerSelf) }

// ServiceUserSelf is the caller when it is a service user. OrgID is null for one of enterprise scope (contract/behaviour.md §1.2).
type ServiceUserSelf struct {
	PrincipalType   string  `json:"principal_type" const:"service_user"`
	ServiceUserID   string  `json:"service_user_id"`
	ServiceUserName string  `json:"service_user_name"`
	OrgID           *string `json:"org_id"`
}

// PatUserSelf is the caller when it is a person with a personal key.
type PatUserSelf struct {
	PrincipalType string  `json:"principal_type" const:"pat_user"`
	UserID        string  `json:"user_id"`
	UserName      *string `json:"user_name"`
	APIKeyID      string  `json:"api_key_id"`
	APIKeyName    string  `json:"api_key_name"`
	OrgID         *string `json:"org_id"`
}

// DevinBrainUserSelf is the caller when it is a session with its own token.
type DevinBrainUserSelf struct {
	PrincipalType        string  `json:"principal_type" const:"devin_brain"`
	DevinID              string  `json:"devin_id"`
	OrgID                string  `json:"org_id"`
	UserID               string  `json:"user_id"`
	CreatorServiceUserID *string `json:"creator_service_user_id"`
}

// WindsurfSessionUserSelf is the caller when it is a person signed in without a key of their own.
type WindsurfSessionUserSelf struct {
	PrincipalType string  `json:"principal_type" const:"windsurf_session"`
	UserID        string  `json:"user_id"`
	OrgID         string  `json:"org_id"`
	UserName      *string `json:"user_name"`
}

// LegacySelf is the identity body of the first beta.
type LegacySelf struct {
	OrgID           *string `json:"org_id"`
	ServiceUserID   string  `json:"service_user_id"`
	ServiceUserName string  `json:"service_user_name"`
}

type selfOutput struct{ Body any }

type legacySelfOutput struct{ Body LegacySelf }

func registerSelf(a *kit.API, _ Rooms) {
	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "getSelf", Method: http.MethodGet, Path: "/v3/self", Tags: []string{"self"},
			Summary: "Describe the caller", Description: "One of four shapes, told by principal_type.",
			Responses: kit.Answers(http.StatusOK, kit.OneOf("principal_type",
				kit.Shape[ServiceUserSelf](a), kit.Shape[PatUserSelf](a), kit.Shape[DevinBrainUserSelf](a), kit.Shape[WindsurfSessionUserSelf](a))),
		},
		AnyPrincipal: true,
	}, func(_ context.Context, s access.Subject, _ *struct{}) (*selfOutput, error) {
		return &selfOutput{Body: selfOf(s)}, nil
	})

	kit.Register(a, kit.Op{
		Operation: huma.Operation{
			OperationID: "getSelfBeta", Method: http.MethodGet, Path: "/v3beta1/enterprise/self", Tags: []string{"self"},
			Summary: "Describe the calling service user (first beta)", Deprecated: true,
		},
		AnyPrincipal: true,
	}, func(_ context.Context, s access.Subject, _ *struct{}) (*legacySelfOutput, error) {
		if s.Kind != access.ServiceUser {
			return nil, errServiceUsersOnly
		}
		return &legacySelfOutput{Body: LegacySelf{OrgID: kit.NullText(s.OrgID), ServiceUserID: s.ID, ServiceUserName: s.Name}}, nil
	})
}

func selfOf(s access.Subject) any {
	switch {
	case s.Kind == access.SessionToken:
		return DevinBrainUserSelf{PrincipalType: "devin_brain", DevinID: s.SessionID, OrgID: s.OrgID, UserID: s.ID}
	case s.Kind == access.Person && s.KeyID == "":
		return WindsurfSessionUserSelf{PrincipalType: "windsurf_session", UserID: s.ID, OrgID: s.OrgID, UserName: kit.NullText(s.Name)}
	case s.Kind == access.Person:
		return PatUserSelf{
			PrincipalType: "pat_user", UserID: s.ID, UserName: kit.NullText(s.Name), APIKeyID: s.KeyID, APIKeyName: s.KeyName,
			OrgID: kit.NullText(s.OrgID),
		}
	default:
		return ServiceUserSelf{PrincipalType: "service_user", ServiceUserID: s.ID, ServiceUserName: s.Name, OrgID: kit.NullText(s.OrgID)}
	}
}
