{{- define "autochrome.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Kubernetes cuts the names of pods, hash first: longer ones would not be found by the KEDA triggers' pattern. */}}
{{- define "autochrome.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" }}
{{- else if contains (include "autochrome.name" .) .Release.Name }}
{{- .Release.Name | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "autochrome.name" .) | trunc 46 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "autochrome.selectorLabels" -}}
app.kubernetes.io/name: {{ include "autochrome.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "autochrome.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "autochrome.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The test's pod has another name than the service's, or the Service would send requests to it. */}}
{{- define "autochrome.testLabels" -}}
app.kubernetes.io/name: {{ include "autochrome.name" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "autochrome.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "autochrome.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "autochrome.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{/* The environment variable with the API key. */}}
{{- define "autochrome.apiKeyEnv" -}}
- name: AUTOCHROME_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.apiKey.existingSecret }}
      key: {{ .Values.apiKey.key }}
{{- end }}

{{/* The longest that a request may take from its first byte to its last, in whole seconds. */}}
{{- define "autochrome.longestRequestSeconds" -}}
{{- addf .Values.config.AUTOCHROME_UPLOAD_TIMEOUT_S .Values.config.AUTOCHROME_REQUEST_TIMEOUT_S | ceil | int }}
{{- end }}

{{/*
The longest that a pod may take to stop: the sleep, the drain, the longest request, the 5 s after which the server gives
up, and 10 s for the process to end.
*/}}
{{- define "autochrome.gracePeriodSeconds" -}}
{{- $drain := ceil .Values.config.AUTOCHROME_DRAIN_S | int }}
{{- add .Values.preStopSleepSeconds $drain (include "autochrome.longestRequestSeconds" .) 5 10 }}
{{- end }}

{{/* What the outside may ask for: not /metrics, and not the probes. */}}
{{- define "autochrome.publicPaths" -}}
["/", "/colorize", "/backbones", "/docs", "/openapi.json"]
{{- end }}

{{/* Quick up, as queues grow quickly; slow down, as a pod that is missed soon costs its whole start. */}}
{{- define "autochrome.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - type: Percent
      value: 100
      periodSeconds: 30
    - type: Pods
      value: 2
      periodSeconds: 30
scaleDown:
  stabilizationWindowSeconds: 600
  policies:
    - type: Pods
      value: 1
      periodSeconds: 120
{{- end }}
