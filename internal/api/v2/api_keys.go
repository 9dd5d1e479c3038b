package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerAPIKeys) }

// APIKeyResponse is a key of the older versions, without its value.
type APIKeyResponse struct {
	ID           string  `json:"id"`
	CreatedAt    string  `json:"created_at"`
	IsServiceKey bool    `json:"is_service_key"`
	OrgID        string  `json:"org_id"`
	OrgName      string  `json:"org_name"`
	UserID       *string `json:"user_id"`
	UserEmail    *string `json:"user_email"`
	APIKeyValue  *string `json:"api_key_value" doc:"Always null: a key is shown once, when it is made."`
}

// ProvisionServiceKeyRequest names the organization of a new key.
type ProvisionServiceKeyRequest struct {
	OrgID string `json:"org_id" minLength:"1" maxLength:"256"`
}

// ProvisionServiceKeyResponse shows a new key, once.
type ProvisionServiceKeyResponse struct {
	APIKey string `json:"api_key"`
	OrgID  string `json:"org_id"`
}

func apiKeyOf(k member.OlderKey) APIKeyResponse {
	return APIKeyResponse{
		ID: k.ID, CreatedAt: older.Time(k.CreatedAt), IsServiceKey: k.Service(), OrgID: k.OrgID, OrgName: k.OrgName,
		UserID: kit.NullText(k.UserID), UserEmail: kit.NullText(k.Email),
	}
}

type apiKeysInput struct {
	Page    int    `query:"page" default:"1" minimum:"1" maximum:"10000000"`
	PerPage int    `query:"per_page" default:"25" minimum:"1" maximum:"100"`
	OrgID   string `query:"org_id" maxLength:"256" doc:"Only keys of this organization."`
}

type apiKeysOutput struct{ Body List[APIKeyResponse] }

const apiKeysPath = prefix + "/api-keys"

func registerAPIKeys(a *kit.API, rooms Rooms) {
	kit.Register(a, op("listAPIKeys", http.MethodGet, apiKeysPath, "List API keys of all organizations", "api keys", ""),
		func(ctx context.Context, who access.Subject, in *apiKeysInput) (*apiKeysOutput, error) {
			r := page.Request{First: in.PerPage, Skip: (in.Page - 1) * in.PerPage, Total: true}
			p, err := rooms.Members.ListOlderKeys(ctx, who, in.OrgID, r)
			if err != nil {
				return nil, err
			}
			out := &apiKeysOutput{Body: listOf(r, p, apiKeyOf)}
			if out.Body.NextCursor != nil { // here it is the next page's number
				*out.Body.NextCursor = in.Page + 1
			}
			return out, nil
		})

	type provisionInput struct{ Body ProvisionServiceKeyRequest }
	type provisionOutput struct{ Body ProvisionServiceKeyResponse }
	create := op("provisionServiceKey", http.MethodPost, apiKeysPath, "Create an organization service key", "api keys",
		"POST /v3beta1/organizations/{org_id}/service-users")
	create.Creates, create.ShowsSecret = true, true
	kit.Register(a, create, func(ctx context.Context, who access.Subject, in *provisionInput) (*provisionOutput, error) {
		k, err := rooms.Members.CreateOrgKey(ctx, who, in.Body.OrgID)
		if err != nil {
			return nil, err
		}
		return &provisionOutput{Body: ProvisionServiceKeyResponse{APIKey: k.Token.Reveal(), OrgID: in.Body.OrgID}}, nil
	})

	kit.Register(a, op("revokeAPIKeys", http.MethodDelete, apiKeysPath, "Revoke every API key of the enterprise", "api keys", ""),
		func(ctx context.Context, who access.Subject, _ *struct{}) (*successOutput, error) {
			return success(rooms.Members.RevokeOlderKeys(ctx, who))
		})

	type keyPath struct {
		KeyID string `path:"api_key_id" maxLength:"256"`
	}
	kit.Register(a, op("revokeAPIKey", http.MethodDelete, apiKeysPath+"/{api_key_id}", "Revoke one API key", "api keys", ""),
		func(ctx context.Context, who access.Subject, in *keyPath) (*successOutput, error) {
			return success(rooms.Members.RevokeOlderKey(ctx, who, in.KeyID))
		})
}
