BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE drop_tasks (
	uid VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	task INTEGER NOT NULL, 
	PRIMARY KEY (uid, position), 
	FOREIGN KEY(uid) REFERENCES drops (uid), 
	FOREIGN KEY(task) REFERENCES tasks (id)
);
INSERT INTO "drop_tasks" VALUES('b41e631a97ab49f9bfa56c2581d4eb5d',0,5);
INSERT INTO "drop_tasks" VALUES('b41e631a97ab49f9bfa56c2581d4eb5d',1,6);
INSERT INTO "drop_tasks" VALUES('ab1d909f0f1d43249928e1941ae216cf',0,7);
INSERT INTO "drop_tasks" VALUES('69e5fea7430e46649cbcef1336412030',0,13);
INSERT INTO "drop_tasks" VALUES('69e5fea7430e46649cbcef1336412030',1,14);
CREATE TABLE drops (
	uid VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	kept_as VARCHAR, 
	archived BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (uid)
);
INSERT INTO "drops" VALUES('b41e631a97ab49f9bfa56c2581d4eb5d','good.json',1.79538653995829844477e+09,'done/good.json',1);
INSERT INTO "drops" VALUES('ab1d909f0f1d43249928e1941ae216cf','bad.json',1.79538654072169232369e+09,'failed/bad.json',1);
INSERT INTO "drops" VALUES('69e5fea7430e46649cbcef1336412030','waiting.json',1.79538654148934578892e+09,NULL,0);
CREATE TABLE speeches (
	id INTEGER NOT NULL, 
	task INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	file_name VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	priority INTEGER NOT NULL, 
	token INTEGER DEFAULT 0 NOT NULL, 
	attempts INTEGER DEFAULT 0 NOT NULL, 
	segments_done INTEGER DEFAULT 0 NOT NULL, 
	segments_total INTEGER, 
	audio_seconds FLOAT DEFAULT 0 NOT NULL, 
	process_time FLOAT DEFAULT 0 NOT NULL, 
	digest VARCHAR, 
	error TEXT, batched BOOLEAN DEFAULT 0 NOT NULL, in_company BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT speech_state CHECK (state IN ('pending', 'processing', 'completed', 'failed', 'cancelled')), 
	FOREIGN KEY(task) REFERENCES tasks (id)
);
INSERT INTO "speeches" VALUES(1,1,0,'task_1795386538_0.wav','completed',5,1,0,1,1,0.65,1.27844199960236437618e-03,'0251518c69a4759aeecc90d4aa77a4752f3e54dd7f85d17a3a71f66e7c457d8f',NULL,0,0);
INSERT INTO "speeches" VALUES(2,2,0,'task_1795386538_1.wav','failed',5,1,0,0,1,0.0,1.28417300220462493598e-03,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''',0,0);
INSERT INTO "speeches" VALUES(3,3,0,'a.wav','completed',5,1,0,1,1,0.2,2.22458002099301666021e-04,'9ce2b7c763387b848190be9ed7cdf2a7c7677ee91d064c34250ec1b7207865c8',NULL,0,0);
INSERT INTO "speeches" VALUES(4,3,1,'b.wav','completed',5,1,0,1,1,0.2,2.20235997403506189584e-04,'9ce2b7c763387b848190be9ed7cdf2a7c7677ee91d064c34250ec1b7207865c8',NULL,0,0);
INSERT INTO "speeches" VALUES(5,4,0,'a.wav','completed',9,1,0,1,1,0.2,1.59457998961443081498e-04,'5dbedd26586fd60620f45fe75de8d8a709f6e17769fbc76015a77120ccaa749e',NULL,0,0);
INSERT INTO "speeches" VALUES(6,4,1,'b.wav','failed',9,1,0,0,1,0.0,1.50254099935409612953e-03,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''',0,0);
INSERT INTO "speeches" VALUES(7,5,0,'task_1795386539_4.wav','completed',5,1,0,1,1,0.65,1.86565997864818200469e-04,'7098e190f19790f39f6e7f8b96637e65b6942350fc9770bf116b6196f1f5bbf3',NULL,0,0);
INSERT INTO "speeches" VALUES(8,6,0,'task_1795386539_5.wav','completed',5,1,0,1,1,0.65,2.24481998884584754705e-04,'13b68dc86736fd013bdd8541b302112b7a97f29b61359e2acbfba213ab426934',NULL,0,0);
INSERT INTO "speeches" VALUES(9,7,0,'task_1795386540_6.wav','failed',5,1,0,0,1,0.0,0.000667041000269819,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''',0,0);
INSERT INTO "speeches" VALUES(10,8,0,'1.wav','completed',5,1,0,1,1,0.35,1.93179999769199639558e-04,'137dc95097b70cad7292bf6ac103d442ce5b6b198546ca9d0b711c1b1869401f',NULL,0,0);
INSERT INTO "speeches" VALUES(11,8,1,'2.wav','processing',5,1,1,0,1,0.0,0.0,NULL,NULL,0,0);
INSERT INTO "speeches" VALUES(12,8,2,'3.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,0,0);
INSERT INTO "speeches" VALUES(13,9,0,'task_1795386541_8.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,0,0);
INSERT INTO "speeches" VALUES(14,10,0,'task_1795386541_9.wav','pending',9,0,0,0,NULL,0.0,0.0,NULL,NULL,1,0);
INSERT INTO "speeches" VALUES(15,11,0,'x.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,1,0);
INSERT INTO "speeches" VALUES(16,11,1,'y.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,1,0);
INSERT INTO "speeches" VALUES(17,12,0,'task_1795386541_11.wav','cancelled',5,0,0,0,NULL,0.0,0.0,NULL,'cancelled',0,0);
INSERT INTO "speeches" VALUES(18,13,0,'task_1795386541_12.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,0,0);
INSERT INTO "speeches" VALUES(19,14,0,'task_1795386541_13.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,0,0);
CREATE TABLE tasks (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	batch BOOLEAN NOT NULL, 
	state VARCHAR NOT NULL, 
	priority INTEGER NOT NULL, 
	infer_mode VARCHAR NOT NULL, 
	prompt VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	format VARCHAR NOT NULL, 
	options JSON NOT NULL, 
	overwrite BOOLEAN NOT NULL, 
	output_path VARCHAR NOT NULL, 
	directory VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	started_at FLOAT, 
	finished_at FLOAT, 
	error TEXT, 
	cancel_requested BOOLEAN DEFAULT 0 NOT NULL, 
	idempotency_key VARCHAR, 
	body_hash VARCHAR, 
	CONSTRAINT task_state CHECK (state IN ('pending', 'processing', 'completed', 'failed', 'cancelled')), 
	UNIQUE (idempotency_key)
);
INSERT INTO "tasks" VALUES(1,0,'completed',5,'普通推理','bob.wav',4294967295,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538653860631132125e+09,1.79538653866849708552e+09,1.79538653895830512051e+09,NULL,0,'first','5f446e98f346e302a16fdd046193232995c13528068b2f4a150c5a860ff2bc8d');
INSERT INTO "tasks" VALUES(2,0,'failed',5,'普通推理','bob.wav',2368284849,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538653865276551244e+09,1.79538653923052024842e+09,1.79538653934234523771e+09,'the engine failed: RuntimeError: the text holds ''FAIL''',0,NULL,NULL);
INSERT INTO "tasks" VALUES(3,1,'completed',5,'普通推理','alice.wav',1768854139,'wav','{}',0,'@FOLDER@/outputs/whole','@FOLDER@/outputs/whole',1.79538653876948547365e+09,1.79538653936526679992e+09,1.79538653959835028646e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(4,1,'completed',9,'普通推理','bob.wav',2616145205,'wav','{}',0,'@FOLDER@/outputs/partly','@FOLDER@/outputs/partly',1.79538653880982232088e+09,1.79538653897347640986e+09,1795386539.18716,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(5,0,'completed',5,'普通推理','bob.wav',2638838984,'wav','{}',0,'@FOLDER@/outputs/good','@FOLDER@/outputs/good',1.79538653995468139648e+09,1.7953865399647476673e+09,1.79538653998265337937e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(6,0,'completed',5,'普通推理','bob.wav',2404267399,'wav','{}',0,'@FOLDER@/outputs/good','@FOLDER@/outputs/good',1.79538653995678925516e+09,1.79538653998552370067e+09,1.79538654001074910165e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(7,0,'failed',5,'普通推理','alice.wav',3386712145,'wav','{}',0,'@FOLDER@/outputs/bad','@FOLDER@/outputs/bad',1.79538654071959424014e+09,1.79538654073358345036e+09,1.79538654077109050746e+09,'the engine failed: RuntimeError: the text holds ''FAIL''',0,NULL,NULL);
INSERT INTO "tasks" VALUES(8,1,'processing',5,'普通推理','alice.wav',27949756,'wav','{}',0,'@FOLDER@/outputs/in work','@FOLDER@/outputs/in work',1.79538654085480046266e+09,1.79538654088551568981e+09,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(9,0,'pending',5,'普通推理','alice.wav',4294967295,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.7953865410524215699e+09,NULL,NULL,NULL,0,'second','a34f452c96925794867a1194880695547c62988e534deb851311534bf92fa8e2');
INSERT INTO "tasks" VALUES(10,0,'pending',9,'批次推理','bob.wav',1835787904,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538654109599328046e+09,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(11,1,'pending',5,'批次推理','bob.wav',2584708179,'wav','{}',0,'@FOLDER@/outputs/batched','@FOLDER@/outputs/batched',1.79538654111769890786e+09,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(12,0,'cancelled',5,'普通推理','bob.wav',947068930,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538654112941217419e+09,NULL,1.79538654118368363379e+09,'cancelled',1,NULL,NULL);
INSERT INTO "tasks" VALUES(13,0,'pending',5,'普通推理','alice.wav',3813795198,'wav','{}',0,'@FOLDER@/outputs/waiting','@FOLDER@/outputs/waiting',1.79538654147869205469e+09,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(14,0,'pending',5,'普通推理','alice.wav',3312828285,'wav','{}',0,'@FOLDER@/outputs/waiting','@FOLDER@/outputs/waiting',1.79538654148630857465e+09,NULL,NULL,NULL,0,NULL,NULL);
CREATE TABLE texts (
	speech INTEGER NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY (speech), 
	FOREIGN KEY(speech) REFERENCES speeches (id)
);
INSERT INTO "texts" VALUES(1,'A first text.');
INSERT INTO "texts" VALUES(2,'FAIL');
INSERT INTO "texts" VALUES(3,'One.');
INSERT INTO "texts" VALUES(4,'Two.');
INSERT INTO "texts" VALUES(5,'One.');
INSERT INTO "texts" VALUES(6,'FAIL');
INSERT INTO "texts" VALUES(7,'Dropped, one.');
INSERT INTO "texts" VALUES(8,'Dropped, two.');
INSERT INTO "texts" VALUES(9,'FAIL');
INSERT INTO "texts" VALUES(10,'Spoken.');
INSERT INTO "texts" VALUES(11,'HANG');
INSERT INTO "texts" VALUES(12,'Waits.');
INSERT INTO "texts" VALUES(13,'Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. ');
INSERT INTO "texts" VALUES(14,'你好，世界。');
INSERT INTO "texts" VALUES(15,'X.');
INSERT INTO "texts" VALUES(16,'Y.');
INSERT INTO "texts" VALUES(17,'Never to be spoken.');
INSERT INTO "texts" VALUES(18,'Waits in .claimed/.');
INSERT INTO "texts" VALUES(19,'This too.');
CREATE INDEX tasks_by_state ON tasks (state, id);
CREATE INDEX tasks_waiting ON tasks (priority DESC, id) WHERE state = 'pending';
CREATE INDEX tasks_by_directory ON tasks (directory) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX speeches_of_task ON speeches (task, position);
CREATE INDEX speeches_waiting ON speeches (priority DESC, task, position) WHERE state = 'pending';
CREATE INDEX speeches_in_work ON speeches (id) WHERE state = 'processing';
CREATE INDEX drops_open ON drops (created_at) WHERE archived = 0;
CREATE INDEX speeches_joinable ON speeches (priority, task, position) WHERE state = 'pending' AND batched = 1 AND in_company = 0 AND attempts = 0;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',14);
COMMIT;
