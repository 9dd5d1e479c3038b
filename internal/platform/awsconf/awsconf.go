// Package awsconf reads the AWS SDK's configuration from a URL's parameters, the environment and the SDK's own files. Nothing of the
// SDK runs before it is called, so that who uses no AWS service waits for none.
//
// It puts the SDK's parts together itself: config.LoadDefaultConfig links the clients of AWS SSO and its sign-in, a megabyte that is of
// use to a person at a terminal only.
package awsconf

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// Load reads region, profile, endpoint, role (an ARN to assume), anonymous, dualstack, fips, request_checksum_calculation and
// response_checksum_validation (when_supported or when_required) out of q. Parameters of other names but those of own are refused.
func Load(ctx context.Context, q url.Values, own ...string) (aws.Config, error) {
	asked, err := parameters(q, own)
	if err != nil {
		return aws.Config{}, err
	}
	s, err := read(ctx, asked)
	if err != nil {
		return aws.Config{}, err
	}
	cfg, err := s.settings(ctx)
	if err != nil {
		return aws.Config{}, err
	}
	if cfg.Credentials, err = s.credentials(ctx, cfg); err != nil {
		return aws.Config{}, err
	}
	if role := q.Get("role"); role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(s.sts(cfg), role))
	}
	off, found, err := config.GetIgnoreConfiguredEndpoints(ctx, cfg.ConfigSources)
	if endpoint := cmp.Or(asked.BaseEndpoint, s.env.BaseEndpoint, s.profile.BaseEndpoint); endpoint != "" && (!off || !found) {
		cfg.BaseEndpoint = &endpoint
	}
	return cfg, err
}

// parameters are the options that a URL asks for.
func parameters(q url.Values, own []string) (config.LoadOptions, error) {
	var o config.LoadOptions
	for name, values := range q {
		value, err := values[0], error(nil)
		switch name {
		case "region":
			o.Region = value
		case "profile":
			o.SharedConfigProfile = value
		case "endpoint":
			o.BaseEndpoint = value
		case "role":
			if !strings.HasPrefix(value, "arn:") {
				err = fmt.Errorf("%q is no ARN", value)
			}
		case "anonymous":
			err = whenTrue(value, func() { o.Credentials = aws.AnonymousCredentials{} })
		case "dualstack":
			err = whenTrue(value, func() { o.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled })
		case "fips":
			err = whenTrue(value, func() { o.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled })
		case "request_checksum_calculation":
			o.RequestChecksumCalculation, err = checksums(value, aws.RequestChecksumCalculationWhenSupported, aws.RequestChecksumCalculationWhenRequired)
		case "response_checksum_validation":
			o.ResponseChecksumValidation, err = checksums(value, aws.ResponseChecksumValidationWhenSupported, aws.ResponseChecksumValidationWhenRequired)
		default:
			if !slices.Contains(own, name) {
				err = fmt.Errorf("there is no such parameter")
			}
		}
		if err != nil {
			return o, fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	return o, nil
}

func whenTrue(value string, then func()) error {
	yes, err := strconv.ParseBool(value)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", value)
	}
	if yes {
		then()
	}
	return nil
}

func checksums[T any](value string, supported, required T) (T, error) {
	switch value {
	case "when_supported":
		return supported, nil
	case "when_required":
		return required, nil
	}
	var none T
	return none, fmt.Errorf("%q is neither when_supported nor when_required", value)
}

// sources are the places that settings come from; an earlier one wins.
type sources struct {
	asked   config.LoadOptions
	env     config.EnvConfig
	profile config.SharedConfig
}

// read reads the environment and the profile in the SDK's files. A profile that nobody named may be absent.
func read(ctx context.Context, asked config.LoadOptions) (*sources, error) {
	s := &sources{asked: asked}
	var err error
	if s.env, err = config.NewEnvConfig(); err != nil {
		return nil, err
	}
	name := cmp.Or(asked.SharedConfigProfile, s.env.SharedConfigProfile, config.DefaultSharedConfigProfile)
	s.profile, err = config.LoadSharedConfigProfile(ctx, name, func(o *config.LoadSharedConfigOptions) {
		if f := s.env.SharedConfigFile; f != "" {
			o.ConfigFiles = []string{f}
		}
		if f := s.env.SharedCredentialsFile; f != "" {
			o.CredentialsFiles = []string{f}
		}
	})
	named := asked.SharedConfigProfile != "" || os.Getenv("AWS_PROFILE") != ""
	if _, absent := errors.AsType[config.SharedConfigProfileNotExistError](err); absent && !named {
		return s, nil
	}
	return s, err
}

// settings is all but the credentials and the endpoint. What only one service looks at, its client finds in ConfigSources.
func (s *sources) settings(ctx context.Context) (aws.Config, error) {
	env, profile := s.env, s.profile
	cfg := aws.Config{
		ConfigSources:         []any{s.asked, env, profile},
		Region:                cmp.Or(s.asked.Region, env.Region, profile.Region),
		RetryMaxAttempts:      cmp.Or(env.RetryMaxAttempts, profile.RetryMaxAttempts),
		RetryMode:             cmp.Or(env.RetryMode, profile.RetryMode),
		DefaultsMode:          cmp.Or(env.DefaultsMode, profile.DefaultsMode, aws.DefaultsModeLegacy),
		AppID:                 cmp.Or(env.AppID, profile.AppID),
		AccountIDEndpointMode: cmp.Or(env.AccountIDEndpointMode, profile.AccountIDEndpointMode, aws.AccountIDEndpointModePreferred),
		RequestChecksumCalculation: cmp.Or(s.asked.RequestChecksumCalculation, env.RequestChecksumCalculation, profile.RequestChecksumCalculation,
			aws.RequestChecksumCalculationWhenSupported),
		ResponseChecksumValidation: cmp.Or(s.asked.ResponseChecksumValidation, env.ResponseChecksumValidation, profile.ResponseChecksumValidation,
			aws.ResponseChecksumValidationWhenSupported),
		AuthSchemePreference: env.AuthSchemePreference,
	}
	if len(cfg.AuthSchemePreference) == 0 {
		cfg.AuthSchemePreference = profile.AuthSchemePreference
	}
	if off := cmp.Or(env.DisableClockSkewCorrection, profile.DisableClockSkewCorrection); off != nil {
		cfg.DisableClockSkewCorrection = *off
	}
	if bundle := cmp.Or(env.CustomCABundle, profile.CustomCABundle); bundle != "" {
		var err error
		if cfg.HTTPClient, err = trusting(bundle); err != nil {
			return cfg, err
		}
	}
	if cfg.DefaultsMode == aws.DefaultsModeAuto { // it compares the region with that of the machine
		cfg.RuntimeEnvironment = aws.RuntimeEnvironment{
			EnvironmentIdentifier: aws.ExecutionEnvironmentID(os.Getenv("AWS_EXECUTION_ENV")), Region: env.Region,
		}
		if at, err := imds.NewFromConfig(cfg).GetRegion(ctx, &imds.GetRegionInput{}); err == nil {
			cfg.RuntimeEnvironment.EC2InstanceMetadataRegion = at.Region
		} // else it is no machine of EC2
	}
	return cfg, ctx.Err()
}

// trusting is a client that trusts the authorities in a file instead of the system's.
func trusting(bundle string) (aws.HTTPClient, error) {
	pem, err := os.ReadFile(bundle)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate is in it", bundle)
	}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.TLSClientConfig.RootCAs = roots }), nil
}
