BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE drop_tasks (
	uid VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	task INTEGER NOT NULL, 
	PRIMARY KEY (uid, position), 
	FOREIGN KEY(uid) REFERENCES drops (uid), 
	FOREIGN KEY(task) REFERENCES tasks (id)
);
INSERT INTO "drop_tasks" VALUES('d63792a1f7314a949bb8061240948b42',0,5);
INSERT INTO "drop_tasks" VALUES('d63792a1f7314a949bb8061240948b42',1,6);
INSERT INTO "drop_tasks" VALUES('a59a4b3408e849cf83141064d6185fe9',0,7);
INSERT INTO "drop_tasks" VALUES('079d3936d5864526b06d5644209d41a9',0,13);
INSERT INTO "drop_tasks" VALUES('079d3936d5864526b06d5644209d41a9',1,14);
CREATE TABLE drops (
	uid VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	kept_as VARCHAR, 
	archived BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (uid)
);
INSERT INTO "drops" VALUES('d63792a1f7314a949bb8061240948b42','good.json',1.79538653955436396602e+09,'done/good.json',1);
INSERT INTO "drops" VALUES('a59a4b3408e849cf83141064d6185fe9','bad.json',1.79538654029397726054e+09,'failed/bad.json',1);
INSERT INTO "drops" VALUES('079d3936d5864526b06d5644209d41a9','waiting.json',1.79538654108608889577e+09,NULL,0);
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
	error TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT speech_state CHECK (state IN ('pending', 'processing', 'completed', 'failed', 'cancelled')), 
	FOREIGN KEY(task) REFERENCES tasks (id)
);
INSERT INTO "speeches" VALUES(1,1,0,'task_1795386538_0.wav','completed',5,1,0,1,1,0.65,2.71693999820854514837e-04,'0251518c69a4759aeecc90d4aa77a4752f3e54dd7f85d17a3a71f66e7c457d8f',NULL);
INSERT INTO "speeches" VALUES(2,2,0,'task_1795386538_1.wav','failed',5,1,0,0,1,0.0,1.05158600126742385327e-03,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''');
INSERT INTO "speeches" VALUES(3,3,0,'a.wav','completed',5,1,0,1,1,0.2,2.07475997740402817726e-04,'95ae24dc8b7be8faf9e7d843b24a9e875f21cfc527eb878c89e191702dce0882',NULL);
INSERT INTO "speeches" VALUES(4,3,1,'b.wav','completed',5,1,0,1,1,0.2,9.84917001915164291858e-04,'95ae24dc8b7be8faf9e7d843b24a9e875f21cfc527eb878c89e191702dce0882',NULL);
INSERT INTO "speeches" VALUES(5,4,0,'a.wav','completed',9,1,0,1,1,0.2,2.24606999836396425962e-04,'1947cc703f3040a17fbae6addef709eeaac089d6e92347e17d2e1d4db8341f41',NULL);
INSERT INTO "speeches" VALUES(6,4,1,'b.wav','failed',9,1,0,0,1,0.0,1.52460400204290635883e-03,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''');
INSERT INTO "speeches" VALUES(7,5,0,'task_1795386539_4.wav','completed',5,1,0,1,1,0.65,2.17950000660493969917e-04,'00363623c8d589484d481827f2d83a1aaf0236d70458169c7df9b5a7ddcbb155',NULL);
INSERT INTO "speeches" VALUES(8,6,0,'task_1795386539_5.wav','completed',5,1,0,1,1,0.65,1.83919997652992606163e-04,'8255f27909896142171ae9a5c52c26198f6f1b0fc94d66de88763ce48a34a89b',NULL);
INSERT INTO "speeches" VALUES(9,7,0,'task_1795386540_6.wav','failed',5,1,0,0,1,0.0,9.93826997728319838643e-04,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''');
INSERT INTO "speeches" VALUES(10,8,0,'1.wav','completed',5,1,0,1,1,0.35,2.41342499793972820043e-03,'959f72a4f84caca3afde586e0e011bc875c101c5e304a31ccbc254aefdca894a',NULL);
INSERT INTO "speeches" VALUES(11,8,1,'2.wav','processing',5,1,1,0,1,0.0,0.0,NULL,NULL);
INSERT INTO "speeches" VALUES(12,8,2,'3.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL);
INSERT INTO "speeches" VALUES(13,9,0,'task_1795386540_8.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL);
INSERT INTO "speeches" VALUES(14,10,0,'task_1795386540_9.wav','pending',9,0,0,0,NULL,0.0,0.0,NULL,NULL);
INSERT INTO "speeches" VALUES(15,11,0,'x.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL);
INSERT INTO "speeches" VALUES(16,11,1,'y.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL);
INSERT INTO "speeches" VALUES(17,12,0,'task_1795386540_11.wav','cancelled',5,0,0,0,NULL,0.0,0.0,NULL,'cancelled');
INSERT INTO "speeches" VALUES(18,13,0,'task_1795386541_12.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL);
INSERT INTO "speeches" VALUES(19,14,0,'task_1795386541_13.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL);
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
INSERT INTO "tasks" VALUES(1,0,'completed',5,'普通推理','bob.wav',4294967295,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538653828014516827e+09,1.79538653832525038718e+09,1.79538653853826570515e+09,NULL,0,'first','5f446e98f346e302a16fdd046193232995c13528068b2f4a150c5a860ff2bc8d');
INSERT INTO "tasks" VALUES(2,0,'failed',5,'普通推理','bob.wav',3064775616,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538653837233161923e+09,1.79538653888135790823e+09,1.79538653901256561274e+09,'the engine failed: RuntimeError: the text holds ''FAIL''',0,NULL,NULL);
INSERT INTO "tasks" VALUES(3,1,'completed',5,'普通推理','alice.wav',458766350,'wav','{}',0,'@FOLDER@/outputs/whole','@FOLDER@/outputs/whole',1.79538653843738627438e+09,1.79538653903225421909e+09,1.79538653918867611883e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(4,1,'completed',9,'普通推理','alice.wav',1060322118,'wav','{}',0,'@FOLDER@/outputs/partly','@FOLDER@/outputs/partly',1.79538653845066881178e+09,1.79538653855701589578e+09,1.79538653883428955078e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(5,0,'completed',5,'普通推理','alice.wav',1739943374,'wav','{}',0,'@FOLDER@/outputs/good','@FOLDER@/outputs/good',1.79538653955043244359e+09,1.7953865395743513107e+09,1.79538653967247200009e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(6,0,'completed',5,'普通推理','bob.wav',3209190987,'wav','{}',0,'@FOLDER@/outputs/good','@FOLDER@/outputs/good',1.79538653955287528032e+09,1.79538653968196034436e+09,1.79538653974121022224e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(7,0,'failed',5,'普通推理','bob.wav',2387493937,'wav','{}',0,'@FOLDER@/outputs/bad','@FOLDER@/outputs/bad',1.79538654029208278651e+09,1.79538654029830145836e+09,1.795386540314119339e+09,'the engine failed: RuntimeError: the text holds ''FAIL''',0,NULL,NULL);
INSERT INTO "tasks" VALUES(8,1,'processing',5,'普通推理','bob.wav',3977698891,'wav','{}',0,'@FOLDER@/outputs/in work','@FOLDER@/outputs/in work',1.79538654034867024419e+09,1.79538654037263083456e+09,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(9,0,'pending',5,'普通推理','bob.wav',4294967295,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538654046633577342e+09,NULL,NULL,NULL,0,'second','a34f452c96925794867a1194880695547c62988e534deb851311534bf92fa8e2');
INSERT INTO "tasks" VALUES(10,0,'pending',9,'批次推理','bob.wav',688814638,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538654048845601083e+09,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(11,1,'pending',5,'批次推理','alice.wav',581364503,'wav','{}',0,'@FOLDER@/outputs/batched','@FOLDER@/outputs/batched',1.79538654049993300432e+09,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(12,0,'cancelled',5,'普通推理','bob.wav',1690300911,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538654051023912434e+09,NULL,1.79538654054076099401e+09,'cancelled',1,NULL,NULL);
INSERT INTO "tasks" VALUES(13,0,'pending',5,'普通推理','bob.wav',393989894,'wav','{}',0,'@FOLDER@/outputs/waiting','@FOLDER@/outputs/waiting',1.79538654108067226408e+09,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(14,0,'pending',5,'普通推理','bob.wav',1787378744,'wav','{}',0,'@FOLDER@/outputs/waiting','@FOLDER@/outputs/waiting',1.79538654108257412916e+09,NULL,NULL,NULL,0,NULL,NULL);
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',14);
COMMIT;
