"""Settings: one module. The environment is read in one block, and outside the demo nothing secret has a default."""

import json
import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import bootstrap_wrapper
import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from portal.foundation import logs

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = BASE_DIR / "var"
TESTING = "pytest" in sys.modules

# --- environment ---------------------------------------------------------------------------------------------

env = environ.Env()
DEMO = env.bool("DEMO", default=False) or TESTING
DEBUG = env.bool("DEBUG", default=False)


def _demo_secrets():
    """Secrets of the demo and of tests: made once, kept under var/, readable by their owner only."""
    path = VAR / "demo-secrets.json"
    if TESTING or not path.exists():
        made = {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "TOKEN_KEYS": secrets.token_urlsafe(32),
            "LEDGER_KEYS": secrets.token_urlsafe(32),
            "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        }
        if TESTING:
            return made
        VAR.mkdir(exist_ok=True)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(made, file)
        except FileExistsError:
            pass
    return json.loads(path.read_text())


def _required(name):
    value = os.environ.get(name) or (_demo_secrets().get(name) if DEMO else None)
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. Set it in the environment; see “Configuration” in README.md.")
    # Child processes of `make run` must sign with the same keys.
    os.environ[name] = value
    return value


SECRET_KEY = _required("SECRET_KEY")
# Comma-separated; the first makes, all verify.
TOKEN_KEYS = [key.strip() for key in _required("TOKEN_KEYS").split(",") if key.strip()]
LEDGER_KEYS = [key.strip() for key in _required("LEDGER_KEYS").split(",") if key.strip()]
FIELD_ENCRYPTION_KEYS = [key.strip() for key in _required("FIELD_ENCRYPTION_KEYS").split(",") if key.strip()]
PORT = env.int("PORT", default=8000)
BASE_URL = env.str("BASE_URL", default=f"http://127.0.0.1:{PORT}" if DEMO else "").rstrip("/")
if not BASE_URL:
    raise ImproperlyConfigured(
        "BASE_URL is not set. Set it to the address people reach, such as https://apps.example.com."
    )
# How many proxies stand in front, each of which appends to X-Forwarded-For: one ends TLS, where there is https.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=1 if BASE_URL.startswith("https://") else 0)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]", "testserver"] if DEMO else [])
# Where the ledger's checkpoints are appended: outside the database, best where nothing can be rewritten.
CHECKPOINT_FILE = env.str("CHECKPOINT_FILE", default=str(VAR / "checkpoints.jsonl") if DEMO and not TESTING else "")
# Whether an app's vendors may be on this machine (E3): for tests and the demo.
EGRESS_ALLOW_LOOPBACK = env.bool("EGRESS_ALLOW_LOOPBACK", default=DEMO)
EMAIL = env.email_url("EMAIL_URL", default="smtp://localhost:25")

if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
    if not (DEMO or env.bool("EMBEDDED", default=False)):
        missing = " and ".join(name for name in ("DATABASE_URL", "REDIS_URL") if not os.environ.get(name))
        raise ImproperlyConfigured(f"{missing} must be set. Only the demo and tests start servers of their own.")
    from portal.demo import embedded

    os.environ.update(
        embedded.services(
            VAR / f"test-{os.getpid()}" if TESTING else VAR,
            want_postgres=not os.environ.get("DATABASE_URL"),
            want_redis=not os.environ.get("REDIS_URL"),
            temporary=TESTING,
        )
    )
DATABASE_URL = env.str("DATABASE_URL")
REDIS_URL = env.str("REDIS_URL")
if TESTING and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
    # The test processes share a server, not its data; what they start inherits their part of it.
    REDIS_URL = urlsplit(REDIS_URL)._replace(path=f"/{int(worker.removeprefix('gw')) + 1}").geturl()
    os.environ["REDIS_URL"] = REDIS_URL

# --- applications --------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "portal",
    "portal.accounts",
    "portal.ledger",
    "portal.demo",
    "portal.demo.sandbox",
    "credentials",
    "consent",
    "marketplace",
    "oauth2_provider",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "crispy_forms",
    "crispy_bootstrap5",
    "django_htmx",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
]

MIDDLEWARE = [
    # Headers first, so that no answer goes without them.
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "portal.middleware.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.HeadMiddleware",
    "portal.middleware.DatabaseAwayMiddleware",
    "portal.middleware.PublicMetadataMiddleware",
    "portal.middleware.BoundsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.accounts.entrance.NextPageMiddleware",
    "portal.middleware.TimeZoneMiddleware",
    "portal.middleware.MethodNotAllowedMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
# The server answers this by itself, from a file.
HEALTH_PATH = "/healthz"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.chrome",
                "portal.theme.theme",
            ],
            "libraries": {"once": "portal.foundation.templatetags.once"},
        },
    },
]
CRISPY_ALLOWED_TEMPLATE_PACKS = CRISPY_TEMPLATE_PACK = "bootstrap5"

# --- database, Redis, Celery ---------------------------------------------------------------------------------

DATABASES = {
    "default": {
        **env.db_url_config(DATABASE_URL),
        "ENGINE": "tests.backend" if TESTING else "portal.foundation.postgres",
        "OPTIONS": {
            "pool": False if TESTING else {"min_size": 1, "max_size": 16, "timeout": 5},
            # psycopg under Django prepares nothing unless told to.
            "prepare_threshold": 5,
            "connect_timeout": 5,
            # Milliseconds until a host that vanished is given up.
            "tcp_user_timeout": 10_000,
        },
        "CONN_HEALTH_CHECKS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Nobody waits longer than this for Redis, without which the portal works.
REDIS_OPTIONS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
CACHES = {
    "default": {
        "BACKEND": "portal.foundation.limits.cache.Cache",
        "LOCATION": REDIS_URL,
        "KEY_FUNCTION": "portal.foundation.limits.cache.cache_key",
        "OPTIONS": REDIS_OPTIONS,
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# With visibility_timeout alone nothing comes back after a worker is killed; with these two it does.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    # Of workers and beat. A request waits no longer than REDIS_OPTIONS says (portal/foundation/broker.py).
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 0,
    "interval_start": 0,
}
# Workers reconnect for as long as it takes, also where Redis answers with errors, such as while it loads or is full.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_CREATE_MISSING_QUEUES = True

# --- people --------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"
# Where a person without a team starts one.
TEAM_START_URL = "settings"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_ADAPTER = "portal.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {"login": "portal.accounts.forms.LoginForm", "signup": "portal.accounts.forms.SignupForm"}
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = BASE_URL.partition(":")[0]
MFA_ADAPTER = "portal.accounts.adapter.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "App Management Portal"
if TESTING:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

EMAIL_BACKEND = EMAIL["EMAIL_BACKEND"]
for _name in ("HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL", "FILE_PATH"):
    if f"EMAIL_{_name}" in EMAIL:
        globals()[f"EMAIL_{_name}"] = EMAIL[f"EMAIL_{_name}"]
if DEMO and not TESTING and "EMAIL_URL" not in os.environ:
    # Read at /dev/mail/.
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = VAR / "mail"
EMAIL_TIMEOUT = 20  # seconds
DEFAULT_FROM_EMAIL = EMAIL.get("EMAIL_HOST_USER") or "portal@localhost"

# --- authorization server ------------------------------------------------------------------------------------

OAUTH2_PROVIDER_APPLICATION_MODEL = "credentials.Client"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "consent.AccessToken"
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "consent.RefreshToken"
OAUTH2_PROVIDER_GRANT_MODEL = "consent.AuthorizationCode"
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "oauth2_provider.IDToken"
OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = "oauth2_provider.DeviceGrant"
OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "consent.server.Validator",
    "OAUTH2_SERVER_CLASS": "consent.server.Server",
    "OAUTH2_BACKEND_CLASS": "consent.server.Core",
    "SCOPES_BACKEND_CLASS": "consent.server.Scopes",
    "APPLICATION_ADMIN_CLASS": "credentials.admin.ClientAdmin",
    "ACCESS_TOKEN_ADMIN_CLASS": "consent.admin.HiddenAdmin",
    "GRANT_ADMIN_CLASS": "consent.admin.HiddenAdmin",
    "ID_TOKEN_ADMIN_CLASS": "consent.admin.HiddenAdmin",
    "REFRESH_TOKEN_ADMIN_CLASS": "consent.admin.HiddenAdmin",
    "CLIENT_SECRET_HASHER": "default",
    "ACCESS_TOKEN_EXPIRE_SECONDS": 1800,
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": 60,
    "PKCE_REQUIRED": True,
    # The toolkit's own check, which this server does not use: credentials/redirect_uris.py adds loopback http (C5).
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "ALLOW_URI_WILDCARDS": False,
    "REQUEST_APPROVAL_PROMPT": "force",
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "OIDC_ENABLED": False,
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
}

ACCESS_TOKEN_LIFETIME = timedelta(minutes=30)  # T5
CONSENT_LIFETIME = timedelta(days=365)  # T5
AUTHORIZATION_CODE_LIFETIME = timedelta(seconds=60)
REFRESH_RETRY_WINDOW = timedelta(seconds=60)  # T6
ERASE_AFTER = timedelta(days=1)  # T3

# --- limits (their numbers are in portal/foundation/limits/rates.py) ------------------------------------------

# Of allauth's own pages. A second factor is tried by who knows the password, so it is limited by person alone.
ACCOUNT_RATE_LIMITS = {"login": "", "login_failed": "5/5m/key"} if not TESTING else False
# Other tests are not to be disturbed.
LIMITS_ARE_ON = not TESTING
# Of a form with a file: an app package has up to 5 MB.
MAX_BODY = 6 * 1024 * 1024
# Programs send app packages there; everywhere else only forms with a file are large.
LARGE_BODIES = "/api/"
# A gateway asks about a call without sending its body, but many announce one all the same. It would never arrive.
BODIES_NEVER_SENT = "/oauth/check/"
# An address carries an app's `state` of 4,000 characters, encoded twice on the way through signing in.
MAX_ADDRESS = 64 * 1024

# --- language, time, files -----------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static", ("bootstrap", bootstrap_wrapper.get_bootstrap_dir())]
STATIC_ROOT = VAR / "static"
WHITENOISE_USE_FINDERS = DEMO
if DEMO:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEMO
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
# The picker sends a reason for each scope of the registry, whether chosen or not.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 4000

# --- security ------------------------------------------------------------------------------------------------

_HTTPS = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _HTTPS
# Asked by gateways, products and probes inside the network, which follow no redirect.
SECURE_REDIRECT_EXEMPT = [r"^oauth/check/", r"^oauth/introspect$", r"^(healthz|readyz)$", r"^\.well-known/"]
SECURE_HSTS_SECONDS = 31536000 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = [BASE_URL]
CSRF_FAILURE_VIEW = "portal.views.csrf_failure"
# form-action is left open: after Agree the browser follows a redirect to the app, whatever its address.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- logs ----------------------------------------------------------------------------------------------------

LOGGING = logs.configuration(demo=DEMO, level="WARNING" if TESTING else "INFO")
