/* OPEN: what each verb of protocol.h does. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static bool run(struct fields fields, struct failure *failure) {
  if (!root_is_mounted()) return fail(failure, "invalid", 0, "there is no root file system yet");
  if (main_is_there()) return fail(failure, "invalid", EBUSY, "the main process runs already");
  if (field(fields, "arg") == NULL) return fail(failure, "invalid", 0, "run: no arg");
  return limit_workload(fields, failure);
}

static bool limit(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)reply;
  return limit_workload(fields, failure);
}

static bool exec(struct fields fields, struct failure *failure) {
  if (!main_is_running()) return fail(failure, "not-running", 0, "the main process does not run");
  if (field(fields, "arg") == NULL) return fail(failure, "invalid", 0, "exec: no arg");
  return true;
}

/* Both need a root only: a stopped machine's files are read so. */
static bool transfer(struct fields fields, struct failure *failure) {
  if (!root_is_mounted()) return fail(failure, "invalid", 0, "there is no root file system yet");
  return field(fields, "path") != NULL ? true : fail(failure, "invalid", 0, "no path");
}

static bool look(struct fields fields, struct failure *failure) {
  (void)fields;
  return root_is_mounted() ? true : fail(failure, "invalid", 0, "there is no root file system yet");
}

static const struct {
  const char *verb;
  bool (*check)(struct fields, struct failure *);
  int (*job)(struct fields);
  bool main;
  const char *extra; /* Fields of its process that the verb implies. */
  const char *root;  /* See spawn_request. */
} processes[] = {
    {"run", run, NULL, true, NULL, NULL},
    {"exec", exec, NULL, false, NULL, NULL},
    {"pack", transfer, pack_job, false, NULL, NULL},
    {"unpack", transfer, unpack_job, false, "stdin=1", NULL},
    {"layer", look, layer_job, false, NULL, UPPER},
    {"changes", look, changes_job, false, NULL, "/"},
};

static bool signal_main(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)reply;
  if (!main_is_running()) return fail(failure, "not-running", 0, "the main process does not run");
  return kill(main_pid(), (int)field_number(fields, "signal", SIGTERM)) == 0 ? true : fail(failure, "system", errno, "kill");
}

static bool sync_disks(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)reply;
  sync_root();
  if (field_flag(fields, "freeze")) return freeze_root(true, failure);
  return field_flag(fields, "thaw") ? freeze_root(false, failure) : true;
}

static bool mount_verb(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)reply;
  return mount_root(fields, failure);
}

static bool configure_verb(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)reply;
  return configure(fields, failure);
}

static bool prepare_verb(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)reply;
  if (!root_is_mounted() || main_is_running()) return fail(failure, "invalid", 0, "there is no root file system yet, or it is in use");
  return prepare_network(failure) && prepare_main(fields, failure);
}

static bool stat_path(struct fields fields, struct bytes *reply, struct failure *failure) {
  return transfer(fields, failure) && describe_path(fields, reply, failure);
}

static bool stats(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)fields, (void)failure;
  describe_machine(reply);
  return true;
}

static bool list_processes(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)fields, (void)failure;
  describe_processes(reply);
  return true;
}

static bool switch_off(struct fields fields, struct bytes *reply, struct failure *failure) {
  (void)fields, (void)reply, (void)failure;
  sessions_kill_all();
  power_off();
  return true;
}

static const struct {
  const char *verb;
  bool (*answer)(struct fields, struct bytes *reply, struct failure *);
} requests[] = {
    {"mount", mount_verb}, {"configure", configure_verb}, {"prepare", prepare_verb}, {"limit", limit}, {"signal", signal_main},
    {"stat", stat_path},
    {"stats", stats},      {"processes", list_processes}, {"sync", sync_disks},    {"poweroff", switch_off},
};

void reply_error(struct bytes *link, uint32_t channel, const struct failure *failure) {
  struct bytes fields = {0};
  fields_add(&fields, "kind", "%s", failure->kind);
  if (failure->error != 0 && failure->kind[0] == 's')
    fields_add(&fields, "message", "%s: %s", failure->message, strerror(failure->error));
  else
    fields_add(&fields, "message", "%s", failure->message);
  if (failure->error != 0) fields_add(&fields, "errno", "%d", failure->error);
  frame_put_fields(link, channel, FRAME_ERROR, &fields);
  frame_put(link, channel, FRAME_CLOSED, 0, NULL, 0);
}

static void start(struct bytes *link, uint32_t channel, struct fields fields, size_t verb) {
  struct failure failure = {0};
  if (!processes[verb].check(fields, &failure)) return reply_error(link, channel, &failure);
  struct bytes all = {0};
  bytes_append(&all, fields.data, fields.length);
  if (processes[verb].extra != NULL) bytes_append(&all, processes[verb].extra, strlen(processes[verb].extra) + 1);
  struct spawn_request request = {.fields = {(char *)bytes_front(&all), all.length},
                                  .main = processes[verb].main,
                                  .job = processes[verb].job,
                                  .root = field_flag(fields, "bare") ? BARE : processes[verb].root};
  session_open(link, channel, &request);
  bytes_free(&all);
}

void open_channel(struct bytes *link, const struct frame *frame) {
  struct fields fields = frame_fields(frame);
  struct failure failure = {0};
  const char *verb = fields_check(fields) ? field(fields, "verb") : NULL;
  if (verb == NULL || frame->channel == 0) {
    fail(&failure, "protocol", 0, "OPEN without a verb, or with broken fields");
    return reply_error(link, frame->channel, &failure);
  }
  for (size_t i = 0; i < sizeof processes / sizeof *processes; i++) {
    if (strcmp(processes[i].verb, verb) == 0) return start(link, frame->channel, fields, i);
  }
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    if (strcmp(requests[i].verb, verb) != 0) continue;
    struct bytes reply = {0};
    if (!requests[i].answer(fields, &reply, &failure)) {
      bytes_free(&reply);
      return reply_error(link, frame->channel, &failure);
    }
    frame_put_fields(link, frame->channel, FRAME_REPLY, &reply);
    frame_put(link, frame->channel, FRAME_CLOSED, 0, NULL, 0);
    return;
  }
  fail(&failure, "invalid", 0, "there is no verb %.100s", verb);
  reply_error(link, frame->channel, &failure);
}
