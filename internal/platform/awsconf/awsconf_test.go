package awsconf_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"gantry/internal/platform/awsconf"
)

// platform is what a server finds around it: the machine's and the container's agent, and STS. A key's id says who gave it to whom.
func platform(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	keys := func(w http.ResponseWriter, id string) {
		_ = json.NewEncoder(w).Encode(map[string]string{
			"Code": "Success", "AccessKeyId": id, "SecretAccessKey": "s", "Token": "t", "Expiration": "2126-01-01T00:00:00Z",
		})
	}
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
		_, _ = w.Write([]byte("imds"))
	})
	const role = "/latest/meta-data/iam/security-credentials/"
	mux.HandleFunc("GET "+role, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("server")) })
	mux.HandleFunc("GET "+role+"server", func(w http.ResponseWriter, _ *http.Request) { keys(w, "of-machine") })
	mux.HandleFunc("GET /container", func(w http.ResponseWriter, r *http.Request) { keys(w, "of-container-"+r.Header.Get("Authorization")) })
	mux.HandleFunc("POST /sts/", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		by := r.Form.Get("WebIdentityToken")
		if _, signed, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
			by, _, _ = strings.Cut(signed, "/")
		}
		_, name, _ := strings.Cut(r.Form.Get("RoleArn"), "role/")
		action := r.Form.Get("Action")
		_, _ = fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>%s-by-%s%s</AccessKeyId><SecretAccessKey>s</SecretAccessKey>`+
			`<SessionToken>t</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
			action, name, by, r.Form.Get("ExternalId"))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

const files = `
[default]
region = eu-west-3
[profile keys]
aws_access_key_id = of-keys
aws_secret_access_key = s
[profile assumes]
role_arn = arn:aws:iam::1:role/reader
source_profile = keys
external_id = -x
[profile here]
role_arn = arn:aws:iam::1:role/reader
credential_source = Ec2InstanceMetadata
[profile box]
role_arn = arn:aws:iam::1:role/reader
credential_source = EcsContainer
[profile env]
role_arn = arn:aws:iam::1:role/reader
credential_source = Environment
[profile token]
role_arn = arn:aws:iam::1:role/pod
web_identity_token_file = TOKEN
[profile runs]
credential_process = echo '{"Version":1,"AccessKeyId":"of-process","SecretAccessKey":"s"}'
[profile person]
sso_start_url = https://example.com
sso_region = eu-west-1
sso_account_id = 1
sso_role_name = admin
[profile signed-in]
login_session = arn:aws:sts::1:assumed-role/admin/me
[profile phone]
role_arn = arn:aws:iam::1:role/reader
source_profile = keys
mfa_serial = arn:aws:iam::1:mfa/me
`

// place makes the environment that of a server without any setting of AWS's, with the files above.
func place(t *testing.T) (dir, at string) {
	t.Helper()
	dir, at = t.TempDir(), platform(t)
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value) // puts it back afterwards
			require.NoError(t, os.Unsetenv(name))
		}
	}
	token := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(token, []byte("pod-token"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config"), []byte(strings.ReplaceAll(files, "TOKEN", token)), 0o600))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "none"))
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", at)
	t.Setenv("AWS_ENDPOINT_URL_STS", at+"/sts/")
	return dir, at
}

func TestAServerFindsItsCredentialsWhereTheSDKWould(t *testing.T) { //nolint:paralleltest // it sets the environment
	env := []string{"AWS_ACCESS_KEY_ID=of-env", "AWS_SECRET_ACCESS_KEY=s"}
	pod := []string{"AWS_WEB_IDENTITY_TOKEN_FILE=DIR/token", "AWS_ROLE_ARN=arn:aws:iam::1:role/pod"}
	container := []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=AT/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN=one"}
	for _, c := range []struct {
		name, query string
		env         []string
		want        string
	}{
		{"nothing is set: the machine's role", "", nil, "of-machine"},
		{"keys of the environment", "", env, "of-env"},
		{"keys before a web identity", "", append(env, pod...), "of-env"},
		{"a web identity", "", pod, "pod-by-pod-token"},
		{"a web identity before the container's agent", "", append(pod, container...), "pod-by-pod-token"},
		{"the container's agent", "", container, "of-container-one"},
		{"the container's agent with a token that changes", "", []string{container[0], "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=DIR/token"}, "of-container-pod-token"},
		{"a profile of the environment", "", []string{"AWS_PROFILE=keys"}, "of-keys"},
		{"keys before a profile of the environment", "", append(env, "AWS_PROFILE=keys"), "of-env"},
		{"a profile of the URL before keys", "profile=keys", env, "of-keys"},
		{"a profile that assumes a role with another", "profile=assumes", nil, "reader-by-of-keys-x"},
		{"a profile that assumes a role with the machine's", "profile=here", nil, "reader-by-of-machine"},
		{"a profile that assumes a role with the container's", "profile=box", container, "reader-by-of-container-one"},
		{"a profile that assumes a role with the environment's keys", "profile=env", env, "reader-by-of-env"},
		{"a profile with a web identity", "profile=token", nil, "pod-by-pod-token"},
		{"a profile that runs a program", "profile=runs", nil, "of-process"},
		{"a role of the URL", "role=arn:aws:iam::1:role/writer", env, "writer-by-of-env"},
		{"a role of the URL through a web identity", "role=arn:aws:iam::1:role/writer", pod, "writer-by-pod-by-pod-token"},
		{"the endpoint of another service isn't STS's", "endpoint=http://127.0.0.1:1", pod, "pod-by-pod-token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, at := place(t)
			for _, pair := range c.env {
				name, value, _ := strings.Cut(pair, "=")
				t.Setenv(name, strings.NewReplacer("DIR", dir, "AT", at).Replace(value))
			}
			q, err := url.ParseQuery(c.query)
			require.NoError(t, err)
			cfg, err := awsconf.Load(t.Context(), q)
			require.NoError(t, err)
			for range 2 {
				got, err := cfg.Credentials.Retrieve(t.Context())
				require.NoError(t, err)
				require.Equal(t, c.want, got.AccessKeyID)
			}
		})
	}
}

func TestWhatAServerCannotSignInWithIsSaidAtOnce(t *testing.T) { //nolint:paralleltest // it sets the environment
	for _, c := range []struct{ query, env, want string }{
		{"profile=person", "", "AWS SSO"},
		{"profile=signed-in", "", "aws login"},
		{"profile=phone", "", "mfa_serial"},
		{"profile=box", "", "EcsContainer"},
		{"profile=none", "", "none"},
		{"", "AWS_PROFILE=none", "none"},
		{"", "AWS_WEB_IDENTITY_TOKEN_FILE=token", "AWS_ROLE_ARN"},
		{"", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://192.0.2.1/", "may not serve credentials"},
		{"", "AWS_CONTAINER_CREDENTIALS_FULL_URI=/credentials", "no host"},
		{"", "AWS_CA_BUNDLE=/dev/null", "no certificate"},
		{"", "AWS_RETRY_MODE=never", "AWS_RETRY_MODE"},
	} {
		t.Run(c.query+c.env, func(t *testing.T) {
			place(t)
			if name, value, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, value)
			}
			q, err := url.ParseQuery(c.query)
			require.NoError(t, err)
			_, err = awsconf.Load(t.Context(), q)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestTheURLWinsOverTheEnvironmentAndThatOverTheProfile(t *testing.T) { //nolint:paralleltest // it sets the environment
	place(t)
	load := func(query string) aws.Config {
		q, err := url.ParseQuery(query)
		require.NoError(t, err)
		cfg, err := awsconf.Load(t.Context(), q)
		require.NoError(t, err)
		return cfg
	}
	cfg := load("")
	require.Equal(t, "eu-west-3", cfg.Region)
	require.Nil(t, cfg.BaseEndpoint)
	require.Equal(t, aws.RequestChecksumCalculationWhenSupported, cfg.RequestChecksumCalculation)

	for name, value := range map[string]string{
		"AWS_REGION": "eu-west-2", "AWS_ENDPOINT_URL": "http://env", "AWS_MAX_ATTEMPTS": "7", "AWS_RETRY_MODE": "adaptive",
		"AWS_DEFAULTS_MODE": "standard", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
		"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_DISABLE_CLOCK_SKEW_CORRECTION": "true", "AWS_SDK_UA_APP_ID": "me",
	} {
		t.Setenv(name, value)
	}
	cfg = load("")
	require.Equal(t, "eu-west-2", cfg.Region)
	require.Equal(t, "http://env", *cfg.BaseEndpoint)
	require.Equal(t, 7, cfg.RetryMaxAttempts)
	require.Equal(t, aws.RetryModeAdaptive, cfg.RetryMode)
	require.Equal(t, aws.DefaultsModeStandard, cfg.DefaultsMode)
	require.Equal(t, aws.RequestChecksumCalculationWhenRequired, cfg.RequestChecksumCalculation)
	require.Equal(t, aws.ResponseChecksumValidationWhenRequired, cfg.ResponseChecksumValidation)
	require.True(t, cfg.DisableClockSkewCorrection)
	require.Equal(t, "me", cfg.AppID)
	require.Equal(t, aws.DualStackEndpointStateEnabled, s3.NewFromConfig(cfg).Options().EndpointOptions.UseDualStackEndpoint)

	cfg = load("region=eu-west-1&endpoint=http://url&fips=true&request_checksum_calculation=when_supported")
	require.Equal(t, "eu-west-1", cfg.Region)
	require.Equal(t, "http://url", *cfg.BaseEndpoint)
	require.Equal(t, aws.RequestChecksumCalculationWhenSupported, cfg.RequestChecksumCalculation)
	require.Equal(t, aws.FIPSEndpointStateEnabled, s3.NewFromConfig(cfg).Options().EndpointOptions.UseFIPSEndpoint)
	require.Equal(t, "http://url", *s3.NewFromConfig(cfg).Options().BaseEndpoint)

	t.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
	require.Nil(t, load("").BaseEndpoint)
	anonymous := load("anonymous=true").Credentials
	require.True(t, aws.IsCredentialsProvider(anonymous, (*aws.AnonymousCredentials)(nil)))
}

func TestTheAuthoritiesOfAFileAreTrustedInsteadOfTheSystems(t *testing.T) { //nolint:paralleltest // it sets the environment
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	head := func() error {
		cfg, err := awsconf.Load(t.Context(), url.Values{"anonymous": {"true"}, "endpoint": {s.URL}})
		require.NoError(t, err)
		_, err = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle, o.RetryMaxAttempts = true, 1 }).
			HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("b")})
		return err
	}
	dir, _ := place(t)
	require.ErrorContains(t, head(), "certificate")
	bundle := filepath.Join(dir, "bundle")
	require.NoError(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	t.Setenv("AWS_CA_BUNDLE", bundle)
	require.NoError(t, head())
}
