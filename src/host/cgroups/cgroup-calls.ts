export interface CgroupCalls {}
export const cgroupCalls: CgroupCalls = {};
