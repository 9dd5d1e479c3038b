package v3

import (
	"context"
	"net/http"
	"time"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerAPIKeys) }

// ApiKeyResponse is a key without its token. Times are Unix seconds, null for never.
type ApiKeyResponse struct { //nolint:revive // the contract's name
	APIKeyID   string `json:"api_key_id"`
	APIKeyName string `json:"api_key_name"`
	CreatedAt  int64  `json:"created_at" doc:"Unix time in seconds (UTC)."`
	ExpiresAt  *int64 `json:"expires_at" doc:"Unix time in seconds (UTC); null for never."`
	IsActive   bool   `json:"is_active"`
	LastUsedAt *int64 `json:"last_used_at" doc:"Unix time in seconds (UTC), exact to a minute; null for never."`
	RevokedAt  *int64 `json:"revoked_at" doc:"Unix time in seconds (UTC); null while it isn't."`
}

// ApiKeyWithTokenResponse shows a new key's token once.
type ApiKeyWithTokenResponse struct { //nolint:revive // the contract's name
	APIKeyID   string `json:"api_key_id"`
	APIKeyName string `json:"api_key_name"`
	Token      string `json:"token" doc:"The key, shown only here."`
}

// CreateApiKeyRequest makes a key.
type CreateApiKeyRequest struct { //nolint:revive // the contract's name
	Name      string              `json:"name" minLength:"1" maxLength:"256"`
	ExpiresAt kit.Optional[int64] `json:"expires_at,omitempty" doc:"Unix time in seconds (UTC), in the future; null for never."`
}

// RotateApiKeyRequest replaces a key.
type RotateApiKeyRequest struct { //nolint:revive // the contract's name
	NewKeyExpiresAt kit.Optional[int64] `json:"new_key_expires_at,omitempty" doc:"Unix time in seconds (UTC), in the future; null for never."`
	RevokeCurrent   kit.Optional[bool]  `json:"revoke_current,omitempty" doc:"True unless given: false keeps the old key alive too."`
}

// unixOrNull is the wire form of a time that may be never.
func unixOrNull(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	s := t.Unix()
	return &s
}

// instant is the time of Unix seconds; without a value it is the zero time. The Unix epoch itself is a time like any other.
func instant(o kit.Optional[int64]) time.Time {
	if !o.Has() {
		return time.Time{}
	}
	return time.Unix(o.Value, 0).UTC()
}

func apiKeyOf(k member.APIKey) ApiKeyResponse {
	return ApiKeyResponse{
		APIKeyID: k.ID, APIKeyName: k.Name, CreatedAt: k.CreatedAt.Unix(), ExpiresAt: unixOrNull(k.ExpiresAt), IsActive: k.Active,
		LastUsedAt: unixOrNull(k.LastUsedAt), RevokedAt: unixOrNull(k.RevokedAt),
	}
}

type newKeyOutput struct{ Body ApiKeyWithTokenResponse }

func newKeyAnswer(k member.NewKey, err error) (*newKeyOutput, error) {
	if err != nil {
		return nil, err
	}
	return &newKeyOutput{Body: ApiKeyWithTokenResponse{APIKeyID: k.ID, APIKeyName: k.Name, Token: k.Token.Reveal()}}, nil
}

// APIKeyInput is embedded in the input of an operation on one key.
type APIKeyInput struct {
	ServiceUserInput
	APIKeyID string `path:"api_key_id" maxLength:"256" doc:"API key id."`
}

const (
	apiKeysPath = "/v3beta1/enterprise/service-users/{service_user_id}/api-keys"
	apiKeyPath  = apiKeysPath + "/{api_key_id}"
)

func registerAPIKeys(a *kit.API, rooms Rooms) {
	op := func(id, method, path, summary, description string) kit.Op {
		return serviceUserOp(id, method, path, summary, description, access.ManageAccountServiceUsers)
	}

	type listInput struct {
		ServiceUserInput
		Status string `query:"status" enum:"active,revoked,expired,all" default:"all"`
	}
	type listOutput struct{ Body kit.Page[ApiKeyResponse] }
	kit.Register(a, op("listServiceUserApiKeys", http.MethodGet, apiKeysPath, "List a service user's keys", "All of them in one page, oldest first."),
		func(ctx context.Context, s access.Subject, in *listInput) (*listOutput, error) {
			keys, err := rooms.Members.ListKeys(ctx, s, in.ServiceUserID, member.KeyStatus(in.Status))
			if err != nil {
				return nil, err
			}
			return &listOutput{Body: kit.ClosePage(ctx, page.Page[member.APIKey]{Items: keys}, apiKeyOf)}, nil
		})

	type createInput struct {
		ServiceUserInput
		Body CreateApiKeyRequest
	}
	create := op("createServiceUserApiKey", http.MethodPost, apiKeysPath, "Create a key", "The token is shown once.")
	create.Creates, create.ShowsSecret = true, true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *createInput) (*newKeyOutput, error) {
		return newKeyAnswer(rooms.Members.CreateKey(ctx, s, member.CreateKeyParams{
			ServiceUserID: in.ServiceUserID, Name: in.Body.Name, ExpiresAt: instant(in.Body.ExpiresAt),
		}))
	})

	type keyOutput struct{ Body ApiKeyResponse }
	kit.Register(a, op("revokeServiceUserApiKey", http.MethodDelete, apiKeyPath, "Revoke a key", "409 when it is revoked already."),
		func(ctx context.Context, s access.Subject, in *APIKeyInput) (*keyOutput, error) {
			k, err := rooms.Members.RevokeKey(ctx, s, in.ServiceUserID, in.APIKeyID)
			if err != nil {
				return nil, err
			}
			return &keyOutput{Body: apiKeyOf(k)}, nil
		})

	type rotateInput struct {
		APIKeyInput
		Body *RotateApiKeyRequest
	}
	rotate := op("rotateServiceUserApiKey", http.MethodPost, apiKeyPath+"/rotate", "Rotate a key",
		"Makes a new key of the same name. 400 when the key is not active. The token is shown once.")
	rotate.Creates, rotate.ShowsSecret = true, true
	kit.Register(a, rotate, func(ctx context.Context, s access.Subject, in *rotateInput) (*newKeyOutput, error) {
		var body RotateApiKeyRequest
		if in.Body != nil {
			body = *in.Body
		}
		return newKeyAnswer(rooms.Members.RotateKey(ctx, s, member.RotateKeyParams{
			ServiceUserID: in.ServiceUserID, KeyID: in.APIKeyID, NewExpiresAt: instant(body.NewKeyExpiresAt),
			KeepCurrent: !body.RevokeCurrent.Or(true),
		}))
	})
}
