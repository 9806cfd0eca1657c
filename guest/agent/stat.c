#include "agent.h"
bool describe_path(struct fields fields, struct bytes *reply, struct failure *failure) { (void)fields,(void)reply; return fail(failure, "invalid", 0, "no"); }
int pack_job(struct fields f) { (void)f; return 1; }
int unpack_job(struct fields f) { (void)f; return 1; }
