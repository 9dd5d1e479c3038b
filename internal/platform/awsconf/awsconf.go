// Package awsconf reads the AWS SDK's configuration from a URL's parameters, the environment and the SDK's own files. Nothing of the
// SDK runs before it is called, so that who uses no AWS service waits for none.
package awsconf

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Load reads region, profile, endpoint, role (an ARN to assume), anonymous, dualstack, fips, request_checksum_calculation and
// response_checksum_validation (when_supported or when_required) out of q. Parameters of other names but those of own are refused.
func Load(ctx context.Context, q url.Values, own ...string) (aws.Config, error) {
	var opts []func(*config.LoadOptions) error
	add := func(o config.LoadOptionsFunc) { opts = append(opts, o) }
	for name, values := range q {
		value, err := values[0], error(nil)
		switch name {
		case "region":
			add(config.WithRegion(value))
		case "profile":
			add(config.WithSharedConfigProfile(value))
		case "endpoint":
			add(config.WithBaseEndpoint(value))
		case "role":
			if !strings.HasPrefix(value, "arn:") {
				err = fmt.Errorf("%q is no ARN", value)
			}
		case "anonymous":
			err = whenTrue(value, func() { add(config.WithCredentialsProvider(aws.AnonymousCredentials{})) })
		case "dualstack":
			err = whenTrue(value, func() { add(config.WithUseDualStackEndpoint(aws.DualStackEndpointStateEnabled)) })
		case "fips":
			err = whenTrue(value, func() { add(config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled)) })
		case "request_checksum_calculation":
			err = checksums(value, aws.RequestChecksumCalculationWhenSupported, aws.RequestChecksumCalculationWhenRequired,
				func(c aws.RequestChecksumCalculation) { add(config.WithRequestChecksumCalculation(c)) })
		case "response_checksum_validation":
			err = checksums(value, aws.ResponseChecksumValidationWhenSupported, aws.ResponseChecksumValidationWhenRequired,
				func(c aws.ResponseChecksumValidation) { add(config.WithResponseChecksumValidation(c)) })
		default:
			if !slices.Contains(own, name) {
				err = fmt.Errorf("there is no such parameter")
			}
		}
		if err != nil {
			return aws.Config{}, fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if role := q.Get("role"); err == nil && role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg, plainSTS), role))
	}
	return cfg, err
}

// plainSTS asks the region's own STS: the endpoint that the URL names is another service's.
func plainSTS(o *sts.Options) { o.BaseEndpoint = nil }

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

func checksums[T any](value string, supported, required T, use func(T)) error {
	switch value {
	case "when_supported":
		use(supported)
	case "when_required":
		use(required)
	default:
		return fmt.Errorf("%q is neither when_supported nor when_required", value)
	}
	return nil
}
